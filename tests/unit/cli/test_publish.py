"""What ``gstream publish`` makes of its input."""

from __future__ import annotations

import pytest

from gstream.errors import DisconnectedError, RefusedError


def test_each_line_of_standard_input(run, client, stdin):
    stdin(b"one\ntwo\r\n\nthree")
    assert run("publish") == ("", 0)
    assert client.bodies == [b"one", b"two", b"", b"three"]
    assert client.closed


def test_the_lines_of_files_in_order(run, client, stdin, tmp_path):
    stdin(b"in\n")
    (tmp_path / "a").write_bytes(b"a1\na2\n")
    (tmp_path / "b").write_bytes(b"b1")
    assert run("publish", str(tmp_path / "a"), "-", str(tmp_path / "b")) == ("", 0)
    assert client.bodies == [b"a1", b"a2", b"in", b"b1"]


def test_pieces_that_end_in_nul(run, client, stdin):
    stdin(b"one\ntwo\r\0three\0")
    assert run("publish", "--null") == ("", 0)
    assert client.bodies == [b"one\ntwo\r", b"three"]


def test_key_and_delay_go_with_all(run, client, stdin):
    stdin(b"a\nb\n")
    assert run("publish", "-k", "ü", "--delay", "1.5") == ("", 0)
    assert client.published == [([b"a", b"b"], "ü".encode(), 1.5, None)]


def test_an_id_goes_with_one_message(run, client, stdin):
    stdin(b"a\n")
    assert run("publish", "--id", "7", "--key", "k") == ("", 0)
    assert client.published == [([b"a"], b"k", 0.0, "7")]
    stdin(b"a\nb\n")
    text = "--id is for one message, and there are more (0 messages were published before)"
    assert run("publish", "--id", "7") == (f"gstream: {text}\n", 2)
    assert len(client.published) == 1


def test_objects_with_neighbours_together(run, client, stdin):
    stdin(
        b'{"body": "a"}\n{"body": "b", "key": null}\n{"body": "c", "key": "k", "delay": 2}\n\n'
        b'{"body_base64": "AP8=", "key": "k", "delay": 2}\n{"body": "d", "id": "1"}\n{"body": "e", "id": "2"}\n'
    )
    assert run("publish", "--json", "--delay", "1") == ("", 0)
    assert client.published == [
        ([b"a", b"b"], None, 1.0, None),
        ([b"c", b"\0\xff"], b"k", 2.0, None),
        ([b"d"], None, 1.0, "1"),
        ([b"e"], None, 1.0, "2"),
    ]


def test_a_bad_object_is_told_by_its_number_and_those_before_are_published(run, client, stdin):
    stdin(b'{"body": "a"}\n\n{"body": "b"}\n{"bdy": "c"}\n{"body": "d"}\n')
    known = "body, body_base64, key, key_base64, delay, id"
    text = f"object 4: unknown field 'bdy'; known are {known} (2 messages were published before)"
    assert run("publish", "--json") == (f"gstream: {text}\n", 2)
    assert client.bodies == [b"a", b"b"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RefusedError("full", "no room"), "full: no room (2 messages were published, some perhaps behind it)"),
        (DisconnectedError("it closed"), "it closed (at least 2 messages were published before)"),
    ],
    ids=str,
)
def test_it_tells_how_many_are_stored_when_it_fails(run, client, tmp_path, error, text):
    for name in "ab":
        (tmp_path / name).write_bytes(b"one\ntwo\n")
    client.error = error
    assert run("publish", str(tmp_path / "a"), str(tmp_path / "b")) == (f"gstream: {text}\n", 2)


@pytest.mark.parametrize("error", [RefusedError("full", "no room"), DisconnectedError("gone")], ids=str)
def test_it_counts_what_was_confirmed_of_the_call_that_failed(run, client, tmp_path, error):
    for name in "ab":
        (tmp_path / name).write_bytes(b"one\ntwo\n")
    client.error = error
    client.error.confirmed = 1
    output, _ = run("publish", str(tmp_path / "a"), str(tmp_path / "b"))
    assert " 3 messages were published" in output.replace("(", " ")


@pytest.mark.parametrize(
    ("name", "reason"), [("none", "No such file or directory"), (".", "Is a directory")], ids=["missing", "directory"]
)
def test_a_file_that_cannot_be_read(run, client, tmp_path, name, reason):
    path = str(tmp_path / name)
    advice = f"; arguments are files; to send text: echo {path} | gstream publish" if name == "none" else ""
    before = "(0 messages were published before)"
    assert run("publish", path) == (f"gstream: cannot read {path}: {reason}{advice} {before}\n", 2)


def test_a_text_is_no_file_and_how_to_send_it(run, client):
    output, code = run("publish", "hello world")
    assert code == 2
    assert "; to send text: echo 'hello world' | gstream publish " in output


def test_one_is_no_plural(run, client, stdin):
    stdin(b'{"body": "a"}\n1\n')
    assert run("publish", "--json") == ("gstream: object 2: it is no object (1 message was published before)\n", 2)
