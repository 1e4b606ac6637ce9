from __future__ import annotations

import struct

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from gstream.batch import Batch, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.storage.contents import contradiction
from gstream.storage.frame import decode_frame, encode_frame

bodies = st.binary(max_size=20)
lines = bodies.map(lambda body: body.replace(b"\n", b""))
headers = st.lists(st.tuples(st.text(max_size=5), bodies), max_size=3)
counted = st.builds(pack_counted, bodies, st.none() | bodies | st.just(bytes(32_768)), headers)


def frame(batch):
    return decode_frame(b"".join(encode_frame(batch)))


@given(st.lists(lines, min_size=1, max_size=10))
def test_lines_as_they_are_packed(each):
    assert contradiction(frame(Batch(5, len(each), pack(*each), 1000))) == ""


@given(st.lists(counted, min_size=1, max_size=10))
def test_counted_messages_as_they_are_packed(each):
    assert contradiction(frame(CountedBatch(5, len(each), b"".join(each), 1000))) == ""


@given(st.lists(counted, min_size=1, max_size=5), st.data())
def test_counted_messages_that_are_cut_anywhere(each, data):
    whole = b"".join(each)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert contradiction(frame(CountedBatch(5, len(each), cut, 1000))) == "its messages do not fill it"


SIZES = struct.Struct(">IhI")
NAMED = pack_counted(b"body", b"key", [("name", b"value")])
WRONG = {
    "more lines": Batch(0, 1, b"pa\npb\n"),
    "fewer lines": Batch(0, 2, b"pa\n"),
    "as many LFs as lines, one in a body": Batch(0, 2, b"pa\nb\n"),
    "an empty line": Batch(0, 2, b"pa\n\n"),
    "no p": Batch(0, 1, b"a\n"),
    "no LF": Batch(0, 1, b"pa\nb"),
    "nothing": Batch(0, 1, b""),
    "more behind it": CountedBatch(0, 1, NAMED + b"x"),
    "one more than counted": CountedBatch(0, 1, NAMED * 2),
    "one less than counted": CountedBatch(0, 2, NAMED),
    "a body that ends too early": CountedBatch(0, 1, NAMED[:-1]),
    "a body that is larger than the batch": CountedBatch(0, 2, SIZES.pack(1 << 31, -1, 0) + NAMED),
    "a key of -3 bytes": CountedBatch(0, 1, SIZES.pack(0, -3, 0)),
    "a long key without its size": CountedBatch(0, 1, SIZES.pack(0, -2, 0)),
    "a long key that is short": CountedBatch(0, 1, SIZES.pack(0, -2, 0) + struct.pack(">I", 32_767) + bytes(32_767)),
    "a long key that is cut off": CountedBatch(0, 1, pack_counted(b"", bytes(32_768))[:-1]),
    "headers that hold no header": CountedBatch(0, 1, SIZES.pack(0, -1, 3) + b"\0\0\0"),
    "a header that is longer than all": CountedBatch(0, 1, SIZES.pack(1, -1, 6) + struct.pack(">HI", 0, 1) + b"x"),
    "a name that is no UTF-8": CountedBatch(0, 1, NAMED.replace(b"name", b"nam\xff")),
}


@pytest.mark.parametrize("batch", WRONG.values(), ids=WRONG)
def test_messages_that_were_wrong_when_they_were_written(batch):
    assert contradiction(frame(batch)) == "its messages do not fill it"


def test_kafkas_records_are_not_looked_into():
    checked = struct.pack(">hiqqqhii", 0, 2, 0, 0, -1, -1, -1, 3) + b"whatever"
    stored = struct.pack(">qiibI", 0, 9 + len(checked), 0, 2, crc32c(checked)) + checked
    assert contradiction(decode_frame(stored)) == ""
