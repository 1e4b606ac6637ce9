"""Whole batches of Kafka's records, made and taken apart.

Messages of the other kinds become records when a Kafka client fetches them, and records become counted messages when
anybody else reads them. Batches that clients sent stay as they came otherwise.

Knows no file, no log and no socket.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from struct import Struct
from typing import Final

from crc32c import crc32c

from gstream.batch import Batch, Times
from gstream.compression import compress
from gstream.counted import CountedBatch, pack_counted
from gstream.errors import StorageError
from gstream.header import BEFORE, CHECKED, HEADER_BYTES, MIN_LENGTH, BytesLike
from gstream.record import (
    APPEND_TIME,
    CONTROL,
    TRANSACTIONAL,
    NotUnpackedError,
    Record,
    RecordsError,
    decode_records,
    encode_number,
    encode_records,
    records_header,
    unpack_records,
    unpacked_records,
)

__all__ = [
    "decode_marker",
    "encode_batch",
    "encode_marker",
    "encode_messages",
    "open_batch",
    "pack_records",
    "with_append_time",
]

_MAGIC: Final = 2
_LEADER_EPOCH: Final = 0
_NOBODY: Final = -1

_MARKER_KEY: Final = Struct(">hh")
"""Of a transaction's end: its version, and what it says."""
_MARKER_VALUE: Final = Struct(">hi")
"""Its version, and the coordinator's epoch."""
_ABORTS: Final = 0
_COMMITS: Final = 1

_NO_ATTRIBUTES: Final = b"\0"
_NO_HEADERS: Final = b"\0"
_NO_KEY: Final = b"\x01"
_SAME_TIME: Final = b"\0"
_WIDER_FROM: Final = [0, *(1 << 7 * width - 1 for width in range(1, 10))]
"""The first offset's delta that takes more than so many bytes."""
_FEW_DELTAS: Final = _WIDER_FROM[2]
"""So many are written once and kept."""
_MAX_NAME_BYTES: Final = (1 << 16) - 1

_HEADER_COST: Final = 64
"""What a header counts for at least where bytes are counted because they take time: as much as so many others."""
_UNPACKED_AGAIN: Final = 16
"""Of a batch that is read in parts, no more are made: it is unpacked for each of them."""
_NO_LIMIT: Final = 1 << 62


def encode_batch(
    records: Sequence[Record],
    *,
    compression: int = 0,
    producer_id: int = _NOBODY,
    producer_epoch: int = _NOBODY,
    base_sequence: int = _NOBODY,
    is_transactional: bool = False,
    is_control: bool = False,
) -> bytes:
    """One batch of records, whose offsets rise; it begins at the first one's, and keeps their times."""
    attributes = compression | (TRANSACTIONAL if is_transactional else 0) | (CONTROL if is_control else 0)
    first, last = records[0], records[-1]
    times = (first.time_ms, max(record.time_ms for record in records))
    data = compress(compression, encode_records(records))
    producer = (producer_id, producer_epoch, base_sequence)
    return _batch(data, first.offset, last.offset - first.offset, len(records), times, attributes, producer)


def encode_messages(batch: Batch) -> bytes:
    """Messages of another kind as a batch of records, with the same offsets and times."""
    if isinstance(batch, CountedBatch):
        offsets = range(batch.offset, batch.offset + batch.count)
        records = [
            Record(offset, batch.time_ms(offset), key, body, headers)
            for offset, (body, key, headers) in zip(offsets, batch.contents(), strict=True)
        ]
        data = encode_records(records)
        times = (records[0].time_ms, max(record.time_ms for record in records))
    else:
        data, times = _encode_lines(batch)
    return _batch(data, batch.offset, batch.count - 1, batch.count, times)


def open_batch(data: BytesLike, partition: int, offset: int = 0, max_bytes: int = _NO_LIMIT) -> CountedBatch | None:
    """A whole batch of records as messages; None if it is no batch of messages, but tells a transaction's end.

    offset: the messages before this one are left out, as are those behind ``max_bytes``; but there is always one, and
    a sixteenth of the batch, which has to be unpacked again for the others.

    What is missing of a record is empty. Raises RecordsError; StorageError if only a library is missing, which is no
    reason to pass messages over.
    """
    header = records_header(data)
    if header.attributes & CONTROL:
        return None
    if header.last_offset_delta != header.records - 1:
        raise RecordsError("their offsets have holes")
    try:
        unpacked = unpack_records(data, header)
    except NotUnpackedError as error:
        raise StorageError(str(error)) from None
    first = max(0, offset - header.base_offset)
    records = unpacked_records(unpacked, header, first)
    most = max(max_bytes, len(unpacked) // _UNPACKED_AGAIN)
    return pack_records(records, header.base_offset + first, partition, max_bytes=most)


def pack_records(
    records: Iterable[Record], offset: int, partition: int, *, max_count: int = _NO_LIMIT, max_bytes: int = _NO_LIMIT
) -> CountedBatch:
    """Records as messages, the first of which must have this offset; as many as there are, perhaps none.

    At most so many of them, and about so many bytes, but always one; many headers count for more than they have. What
    is missing of a record is empty. Raises RecordsError.
    """
    packed: list[bytes] = []
    size = 0
    offsets, times = array("q"), array("q")
    last_ms = None
    for at, time_ms, key, value, headers in records:
        if at != offset + len(packed):
            raise RecordsError("their offsets have holes")
        packed.append(pack_counted(value or b"", key, [(_cut(name), content or b"") for name, content in headers]))
        size += len(packed[-1])
        if time_ms != last_ms:
            offsets.append(at)
            times.append(time_ms)
            last_ms = time_ms
        if headers:
            max_bytes -= _HEADER_COST * len(headers)
        if len(packed) == max_count or size >= max_bytes:
            break
    found: Times = times[0] if len(times) == 1 else (offsets, times)
    return CountedBatch(offset, len(packed), b"".join(packed), found, partition)


def encode_marker(producer_id: int, producer_epoch: int, *, commits: bool, time_ms: int, offset: int = 0) -> bytes:
    """The batch that ends a producer's transaction in a partition."""
    key = _MARKER_KEY.pack(0, _COMMITS if commits else _ABORTS)
    marker = Record(offset, time_ms, key, _MARKER_VALUE.pack(0, 0))
    producer = {"producer_id": producer_id, "producer_epoch": producer_epoch}
    return encode_batch([marker], **producer, is_transactional=True, is_control=True)


def decode_marker(data: BytesLike) -> bool:
    """Whether the transaction that this batch ends is committed. Raises RecordsError if it ends none."""
    header = records_header(data)
    if not header.attributes & CONTROL:
        raise RecordsError("they end no transaction")
    key = next(decode_records(data)).key or b""
    if len(key) >= _MARKER_KEY.size:
        _, says = _MARKER_KEY.unpack_from(key)
        if says in (_ABORTS, _COMMITS):
            return bool(says == _COMMITS)
    raise RecordsError("they do not say how their transaction ends")


def with_append_time(data: BytesLike, time_ms: int) -> bytes:
    """A whole batch of records, all of them published now. They are not looked into."""
    header = records_header(data)
    checked = CHECKED.pack(header.attributes | APPEND_TIME, *header[6:8], time_ms, *header[9:])
    content = memoryview(data)[HEADER_BYTES : header.size]
    return _join(header.base_offset, header.leader_epoch, checked, content)


def _batch(
    data: bytes,
    offset: int,
    last_delta: int,
    count: int,
    times: tuple[int, int],
    attributes: int = 0,
    producer: tuple[int, int, int] = (_NOBODY, _NOBODY, _NOBODY),
) -> bytes:
    return _join(offset, _LEADER_EPOCH, CHECKED.pack(attributes, last_delta, *times, *producer, count), data)


def _join(offset: int, leader_epoch: int, checked: bytes, data: bytes | memoryview) -> bytes:
    crc = crc32c(data, crc32c(checked))
    return b"".join((BEFORE.pack(offset, MIN_LENGTH + len(data), leader_epoch, _MAGIC, crc), checked, data))


def _cut(name: str) -> str:
    """A header's name, as far as it has room in a counted message."""
    coded = name.encode()
    return name if len(coded) <= _MAX_NAME_BYTES else coded[:_MAX_NAME_BYTES].decode(errors="ignore")


def _encode_lines(batch: Batch) -> tuple[bytes, tuple[int, int]]:
    """Packed lines as records, and the first one's and the newest time. No object is made for a record.

    A record is its size, 0, its time's delta, its offset's delta, no key, its body's size, its body and no headers.
    Between two bodies stand three things, each of which depends on little, and they are put together in one go.
    """
    bodies = batch.bodies()
    runs = list(_runs(batch))
    base_ms = runs[0][2]
    parts: list[bytes] = [b""] * (4 * len(bodies) + 1)
    parts[3::4] = bodies
    sizes = list(map(len, bodies))
    for start, stop, time_ms in runs:
        _write_between(parts, start, sizes[start:stop], encode_number(time_ms - base_ms))
    parts[0] = parts[0][1:]
    parts[-1] = _NO_HEADERS
    return b"".join(parts), (base_ms, max(time_ms for _, _, time_ms in runs))


def _runs(batch: Batch) -> Iterator[tuple[int, int, int]]:
    """From which message to which, counted from 0, and at what time they were published."""
    if isinstance(batch.times, int):
        yield 0, batch.count, batch.times
        return
    offsets, times = batch.times
    at = bisect_right(offsets, batch.offset) - 1
    start = 0
    while start < batch.count:
        stop = min(batch.count, offsets[at + 1] - batch.offset) if at + 1 < len(offsets) else batch.count
        yield start, stop, times[at]
        start = stop
        at += 1


def _write_between(parts: list[bytes], start: int, sizes: list[int], delta_ms: bytes) -> None:
    """What stands before each body of a run, from the one before it on. All were published at one time."""
    first = 0
    while first < len(sizes):
        width = len(encode_number(start + first))
        last = min(len(sizes), _WIDER_FROM[width] - start)
        run = sizes[first:last]
        around = {size: _around(size, width + len(delta_ms)) for size in set(run)}
        begin, end = 4 * (start + first), 4 * (start + last)
        if len(around) == 1:
            head, middle = around[run[0]]
            parts[begin:end:4] = [head] * len(run)
            parts[begin + 2 : end : 4] = [middle] * len(run)
        else:
            heads = {size: head for size, (head, _) in around.items()}
            middles = {size: middle for size, (_, middle) in around.items()}
            parts[begin:end:4] = map(heads.__getitem__, run)
            parts[begin + 2 : end : 4] = map(middles.__getitem__, run)
        parts[begin + 1 : end : 4] = _deltas(start + first, start + last, delta_ms)
        first = last


@lru_cache(maxsize=4096)
def _around(size: int, deltas_bytes: int) -> tuple[bytes, bytes]:
    """What stands before a record's deltas, and between them and its body of this size."""
    coded = encode_number(size)
    record_bytes = deltas_bytes + len(coded) + size + 3  # its attributes, the missing key, and no headers
    return _NO_HEADERS + encode_number(record_bytes) + _NO_ATTRIBUTES, _NO_KEY + coded


def _deltas(start: int, stop: int, delta_ms: bytes) -> Iterable[bytes]:
    """The deltas of time and offset, of a run."""
    if stop > _FEW_DELTAS:
        return [delta_ms + encode_number(delta) for delta in range(start, stop)]
    found = _first_deltas()[start:stop]
    return found if delta_ms == _SAME_TIME else [delta_ms + each[1:] for each in found]


@cache
def _first_deltas() -> list[bytes]:
    return [_SAME_TIME + encode_number(delta) for delta in range(_FEW_DELTAS)]
