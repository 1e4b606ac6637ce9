"""Messages as JSON: there and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream.cli.records import Record, decode_record, encode_message
from gstream.client.message import Message

MESSAGE = Message(
    "1:7",
    2,
    b"line\nline\0",
    datetime(2026, 11, 24, 21, 30, 0, 5000, UTC),
    b"\xff",
    (("dead.reason", "ü".encode()), ("raw", b"\x80")),
)


def test_all_fields_of_a_message():
    line = encode_message(MESSAGE, "news")
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "id": "1:7",
        "attempt": 2,
        "topic": "news",
        "time": "2026-11-24T21:30:00.005+00:00",
        "key_base64": "/w==",
        "headers": {"dead.reason": "ü", "raw": {"base64": "gA=="}},
        "body": "line\nline\0",
    }


@given(st.binary(), st.none() | st.binary())
def test_body_and_key_come_back(body, key):
    row = json.loads(encode_message(Message("0", 1, body, None, key), "t"))
    wanted = {name: value for name, value in row.items() if name.startswith(("body", "key"))}
    assert decode_record(json.dumps(wanted).encode()) == Record(body, key)


def test_what_is_not_given_is_not_there():
    assert decode_record(b'{"body": "", "key": null, "delay": null, "id": null, "body_base64": null}') == Record(b"")
    assert decode_record(b'{"body": "x", "delay": 0, "id": "i"}') == Record(b"x", None, 0.0, "i")


BAD = {
    "no JSON": (b"{", "no JSON: "),
    "no UTF-8": (b'{"body": "\xff"}', "no JSON: "),
    "nested": (b"[" * 100_000, "nested too deeply"),
    "a string": (b'"body"', "it is no object"),
    "no body": (b'{"key": "k"}', "it has neither body nor body_base64"),
    "two bodies": (b'{"body": "a", "body_base64": "YQ=="}', "it has both body and body_base64"),
    "a number": (b'{"body": 1}', "body is no string"),
    "a key that is a list": (b'{"body": "a", "key": []}', "key is no string"),
    "no base64": (b'{"body_base64": "?"}', "body_base64: "),
    "half a character": (b'{"body": "\\ud800"}', "surrogates not allowed"),
    "a delay that is text": (b'{"body": "a", "delay": "1"}', "delay is no number of seconds from 0 to 100,000,000"),
    "a delay that is true": (b'{"body": "a", "delay": true}', "delay is no number"),
    "a negative delay": (b'{"body": "a", "delay": -1}', "delay is no number"),
    "no number": (b'{"body": "a", "delay": NaN}', "delay is no number"),
    "an empty id": (b'{"body": "a", "id": ""}', "id is no string, or empty"),
    "an id that is a number": (b'{"body": "a", "id": 7}', "id is no string, or empty"),
    "a field of consume": (b'{"body": "a", "attempt": 1}', "unknown field 'attempt'; known are body, "),
}


@pytest.mark.parametrize(("line", "text"), BAD.values(), ids=BAD.keys())
def test_a_bad_line(line, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its text is what is tested
        decode_record(line)
    assert text in str(caught.value)
