"""Produce's requests and replies, by hand: they are many, and what they carry is not copied.

Versions 0 to 9; up to 2, which are refused, with the shape that they have. What is written is what the library writes,
byte for byte. Knows no topic and no socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct, error
from typing import NamedTuple

from gstream.commit import Commit
from gstream.kafka.encoding import (
    INT32,
    MalformedError,
    encode_compact_string,
    encode_string,
    encode_unsigned,
    read_compact_bytes,
    read_compact_string,
    read_string,
    read_unsigned,
    skip_tags,
)

__all__ = ["FLEXIBLE_FROM", "MAX_PARTITIONS", "PartitionReply", "ProduceRequest", "TopicData", "decode", "encode"]

TRANSACTIONAL_FROM = 3
"""The version that names the transaction, and the first one that is served."""

APPEND_TIME_FROM = 2
START_OFFSET_FROM = 5
MESSAGES_FROM = 8
"""The version that can say in words what is wrong."""

MAX_PARTITIONS = 100_000
"""In one request. Each may have nine bytes only, and takes thirty times as many when it was read."""

FLEXIBLE_FROM = 9
"""The version of compact lengths and tagged fields."""

_BEGINNING = Struct(">hi")  # acks, timeout
_ROWS = {
    0: Struct(">ihq"),
    APPEND_TIME_FROM: Struct(">ihqq"),
    START_OFFSET_FROM: Struct(">ihqqq"),
}
_COMPACT_ROW = Struct(">ihqqqB")
_NO_THROTTLE = INT32.pack(0)
_NO_ERRORS = INT32.pack(0)
_NO_ERRORS_COMPACT = 1


class TopicData(NamedTuple):
    """A topic's name, and of each partition its number and what is to be appended to it."""

    name: str
    partitions: list[tuple[int, memoryview | None]]


class ProduceRequest(NamedTuple):
    """What is asked for. acks: 0 (no reply), 1 or -1; others cannot be had."""

    transactional_id: str | None
    acks: int
    timeout_ms: int
    topics: list[TopicData]


@dataclass(slots=True)
class PartitionReply:
    """What became of a partition's batch. commit: when that is known; None: it is.

    offset, append_ms, start_offset: of its first record, when it was appended if that is what counts, and of the
    oldest record that is kept; -1: none.
    """

    index: int
    code: int = 0
    offset: int = -1
    append_ms: int = -1
    start_offset: int = -1
    message: str | None = None
    commit: Commit | None = None


def decode(buffer: memoryview, version: int) -> ProduceRequest:
    """A request's body. Raises MalformedError."""
    try:
        return _decode_compact(buffer) if version >= FLEXIBLE_FROM else _decode_plain(buffer, version)
    except (IndexError, error) as cause:
        raise MalformedError("it is cut off") from cause
    except UnicodeDecodeError as cause:
        raise MalformedError("a string that is not UTF-8") from cause


def _decode_plain(buffer: memoryview, version: int) -> ProduceRequest:
    transactional_id, position = read_string(buffer, 0) if version >= TRANSACTIONAL_FROM else (None, 0)
    acks, timeout_ms = _BEGINNING.unpack_from(buffer, position)
    position += 6
    topics = []
    (count,) = INT32.unpack_from(buffer, position)
    position += 4
    left = MAX_PARTITIONS
    for _ in range(_counted(count)):
        name, position = read_string(buffer, position)
        (partition_count,) = INT32.unpack_from(buffer, position)
        position += 4
        partitions: list[tuple[int, memoryview | None]] = []
        left = _left(left, partition_count)
        for _ in range(_counted(partition_count)):
            (index,) = INT32.unpack_from(buffer, position)
            (size,) = INT32.unpack_from(buffer, position + 4)
            position += 8
            if size < 0:
                partitions.append((index, None))
                continue
            end = position + size
            if end > len(buffer):
                raise MalformedError("a batch goes on behind the end")
            partitions.append((index, buffer[position:end]))
            position = end
        topics.append(TopicData(_named(name), partitions))
    return ProduceRequest(transactional_id, acks, timeout_ms, topics)


def _decode_compact(buffer: memoryview) -> ProduceRequest:
    transactional_id, position = read_compact_string(buffer, 0)
    acks, timeout_ms = _BEGINNING.unpack_from(buffer, position)
    topics = []
    count, position = read_unsigned(buffer, position + 6)
    left = MAX_PARTITIONS
    for _ in range(_counted(count - 1)):
        name, position = read_compact_string(buffer, position)
        partition_count, position = read_unsigned(buffer, position)
        partitions: list[tuple[int, memoryview | None]] = []
        left = _left(left, partition_count)
        for _ in range(_counted(partition_count - 1)):
            (index,) = INT32.unpack_from(buffer, position)
            data, position = read_compact_bytes(buffer, position + 4)
            partitions.append((index, data))
            position = skip_tags(buffer, position)
        position = skip_tags(buffer, position)
        topics.append(TopicData(_named(name), partitions))
    skip_tags(buffer, position)
    return ProduceRequest(transactional_id, acks, timeout_ms, topics)


def _counted(count: int) -> int:
    if count < 0:
        raise MalformedError("a list that must be there is null")
    return count


def _left(left: int, count: int) -> int:
    """How many partitions there may be behind a topic with so many; it counts as one itself, in any case."""
    left -= max(count, 1)
    if left < 0:
        raise MalformedError(f"more than {MAX_PARTITIONS} partitions")
    return left


def _named(name: str | None) -> str:
    if name is None:
        raise MalformedError("a topic without a name")
    return name


def encode(topics: Sequence[tuple[str, Sequence[PartitionReply]]], version: int) -> bytes:
    """A reply's body."""
    if version >= FLEXIBLE_FROM:
        return _encode_compact(topics)
    parts = [INT32.pack(len(topics))]
    for name, rows in topics:
        parts += (encode_string(name), INT32.pack(len(rows)), *_rows(rows, version))
    if version:
        parts.append(_NO_THROTTLE)
    return b"".join(parts)


def _rows(rows: Iterable[PartitionReply], version: int) -> list[bytes]:
    layout = _ROWS[max(each for each in _ROWS if each <= version)]
    parts = []
    for row in rows:
        fields = (row.index, row.code, row.offset, row.append_ms, row.start_offset)
        parts.append(layout.pack(*fields[: len(layout.format) - 1]))
        if version >= MESSAGES_FROM:
            parts += (_NO_ERRORS, encode_string(row.message))
    return parts


def _encode_compact(topics: Sequence[tuple[str, Sequence[PartitionReply]]]) -> bytes:
    parts = [encode_unsigned(len(topics) + 1)]
    for name, rows in topics:
        parts += (encode_compact_string(name), encode_unsigned(len(rows) + 1))
        for row in rows:
            parts += (
                _COMPACT_ROW.pack(row.index, row.code, row.offset, row.append_ms, row.start_offset, _NO_ERRORS_COMPACT),
                encode_compact_string(row.message),
                b"\0",
            )
        parts.append(b"\0")
    parts.append(_NO_THROTTLE + b"\0")
    return b"".join(parts)
