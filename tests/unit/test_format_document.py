"""The examples of docs/format.md, decoded and made again."""

from __future__ import annotations

import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

from gstream.batch import Message
from gstream.record import CONTROL, TRANSACTIONAL
from gstream.storage.directory import VERSION
from gstream.storage.frame import Frame, decode_frame, encode_frame
from gstream.storage.index import INTERVAL_BYTES, Index
from gstream.storage.producers import MOST_PRODUCERS, ProducerStates
from gstream.storage.snapshot import decode_snapshot
from gstream.topic_options import TopicOptions

DOCUMENT = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def examples(kind: str) -> list[bytes]:
    """The bytes of the document's blocks of this kind: what stands before two spaces in each line."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return [bytes.fromhex("".join(line.split("  ")[0] for line in block.splitlines())) for block in blocks]


LINES, COUNTED = examples("frame")
(INDEX,) = examples("index")
(PRODUCERS,) = examples("producers")


def test_the_example_of_lines() -> None:
    frame = decode_frame(LINES)
    assert frame.size == len(LINES) == 76
    batch = frame.batch()
    assert list(batch.messages()) == [
        Message(7, b"Hello", time_ms=1764020000000),
        Message(8, b"world!", time_ms=1764020000000),
    ]
    assert b"".join(encode_frame(batch)) == LINES


def test_the_example_of_a_counted_message() -> None:
    frame = decode_frame(COUNTED)
    assert frame.size == len(COUNTED) == 83
    batch = frame.batch()
    assert list(batch.messages()) == [Message(9, b"a\nb", b"k", (("h", b"v"),), 1764020000500)]
    assert b"".join(encode_frame(batch)) == COUNTED


def test_the_frames_follow_one_another() -> None:
    assert decode_frame(LINES).next_offset == decode_frame(COUNTED).offset


def test_the_example_of_an_index() -> None:
    index = Index(7)
    position = 0
    for frame in map(decode_frame, (LINES, COUNTED)):
        assert isinstance(frame, Frame)
        index.add(frame.header, position)
        position += frame.size
    assert index.encode() == INDEX
    assert list(Index.decode(INDEX, 7)) == [(7, 0)]


def test_the_example_of_producers() -> None:
    states = ProducerStates()
    header = decode_frame(LINES).header._replace(producer_id=1000, producer_epoch=0, attributes=TRANSACTIONAL)
    first, second = header._replace(base_sequence=0), header._replace(base_sequence=2, last_offset_delta=0)
    end = header._replace(attributes=TRANSACTIONAL | CONTROL)
    for each, offset, commits in ((first, 3, None), (end, 5, False), (second, 6, None)):
        states.note(each, offset, commits, 1764020000000)
    found = decode_snapshot(PRODUCERS, 7)
    assert PRODUCERS[16:] == found.encode() == states.encode()
    assert found.check(first) == 3
    assert (found.stable_offset(7), found.aborted(0, 7)) == (6, [(1000, 3)])
    assert f"of more than {MOST_PRODUCERS:,} those" in DOCUMENT


def test_every_byte_of_the_header_is_in_the_table() -> None:
    fields = "base|length|leader|magic|checksum|attributes|last|max|producer|count"
    rows = re.findall(rf"^\| (\d+)(?:-(\d+))? \| (?:{fields})", DOCUMENT, re.MULTILINE)
    places = sorted((int(first), int(last or first)) for first, last in rows)
    assert places[0][0] == 0
    assert places[-1][1] == 60
    assert all(before[1] + 1 == after[0] for before, after in pairwise(places))
    assert len(places) == 13


def test_the_numbers_in_the_text() -> None:
    assert f"It describes version {VERSION}." in DOCUMENT
    assert f'"gstream {VERSION}" and LF' in DOCUMENT
    assert f"{INTERVAL_BYTES // 1024} KiB or more behind" in DOCUMENT


def test_the_options_of_a_topic() -> None:
    (text,) = re.findall(r"`topic/<name>/options` is (.*?)\n\n", DOCUMENT, re.DOTALL)
    assert [each.name for each in fields(TopicOptions)] == re.findall(r"`(\w+)`", text)
