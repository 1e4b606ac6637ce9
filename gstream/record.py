"""One record of Kafka's, and how a batch's records are read and written.

The layout: https://kafka.apache.org/documentation/#record. Numbers take as many bytes as they need, seven bits each,
and the lowest bit is the sign. Whatever stands where records should be, reading it takes no more memory and time than
its bytes are worth.

Knows no file, no message and no checksum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from gstream.compression import CompressionError, NotInstalledError, TooLargeError, decompress
from gstream.header import HEADER_BYTES, BytesLike, Header, unpack_header

__all__ = [
    "APPEND_TIME",
    "CODEC_BITS",
    "CONTROL",
    "MAX_UNPACKED_BYTES",
    "SMALLEST_BYTES",
    "TRANSACTIONAL",
    "LargeRecordsError",
    "NotUnpackedError",
    "Record",
    "RecordsError",
    "decode_records",
    "encode_number",
    "encode_records",
    "records_header",
    "unpack_records",
    "unpacked_records",
]

CODEC_BITS: Final = 7
"""The bits of a batch's attributes that say how its records are compressed."""
APPEND_TIME: Final = 8
"""Its records were published at its max time, whatever they say."""
TRANSACTIONAL: Final = 0x10
"""It belongs to a transaction."""
CONTROL: Final = 0x20
"""It holds no message but a transaction's end."""

MAX_UNPACKED_BYTES: Final = 64 << 20
"""A batch that becomes larger when it is unpacked is not read."""

SMALLEST_BYTES: Final = 7
"""Of a record: it has seven numbers."""

_MAGIC: Final = 2
_MAX_HEADERS: Final = 5_000
"""Of a record. An empty one has two bytes, and takes thirty times as many when it was read, and a microsecond."""
_MAX_SHIFT: Final = 63
_TIMES: Final = 1 << 63
_MORE: Final = 0x80
_NO_VALUE: Final = b"\x01"
_NO_SIZE: Final = 1
_NO_HEADERS: Final = b"\0"
_OUT_OF_PLACE: Final = "they are not laid out as records are"


class RecordsError(ValueError):
    """These are no records; the text says why."""


class NotUnpackedError(RecordsError):
    """What these are is not known: the library that unpacks them is not installed."""


class LargeRecordsError(RecordsError):
    """They become more than they may be when they are unpacked."""


class Record(NamedTuple):
    """One record. time_ms: milliseconds since 1970. Its value, and the values of its headers, may be missing."""

    offset: int
    time_ms: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def records_header(batch: BytesLike, start: int = 0) -> Header:
    """The header of a whole batch of records. Raises RecordsError if there is none. No checksum is looked at."""
    header = unpack_header(batch, start)
    if header is None or header.magic != _MAGIC:
        raise RecordsError("no batch of records begins here")
    if not HEADER_BYTES <= header.size <= len(batch) - start:
        raise RecordsError("their batch is cut off")
    return header


def decode_records(batch: BytesLike, start: int = 0, max_bytes: int = MAX_UNPACKED_BYTES) -> Iterator[Record]:
    """The records of the whole batch that begins at ``start``, in order, unpacked to at most so many bytes.

    Raises RecordsError, perhaps behind some of them.
    """
    header = records_header(batch, start)
    return unpacked_records(unpack_records(batch, header, start, max_bytes), header)


def unpack_records(batch: BytesLike, header: Header, start: int = 0, max_bytes: int = MAX_UNPACKED_BYTES) -> bytes:
    """The records of the whole batch with this header that begins at ``start``, unpacked, one behind the other.

    Raises RecordsError; LargeRecordsError if these are more bytes than that.
    """
    content = memoryview(batch)[start + HEADER_BYTES : start + header.size]
    try:
        data = decompress(header.attributes & CODEC_BITS, content, max_bytes)
    except NotInstalledError as error:
        raise NotUnpackedError(f"they cannot be unpacked: {error}") from None
    except TooLargeError as error:
        raise LargeRecordsError(f"they cannot be unpacked: {error}") from None
    except CompressionError as error:
        raise RecordsError(f"they cannot be unpacked: {error}") from None
    if not 0 < header.records <= len(data) // SMALLEST_BYTES:
        raise RecordsError(f"there is no room for {header.records:,} records")
    return data


def unpacked_records(data: bytes, header: Header, first: int = 0) -> Iterator[Record]:
    """Unpacked records of the batch with this header, from that one on, which is counted from 0.

    Raises RecordsError, perhaps behind some of them.
    """
    return _decode(data, header, first, _pass(data, first) if first else 0)


def encode_records(records: Sequence[Record]) -> bytes:
    """Records as a batch holds them that begins with the first one's offset and time."""
    first_offset, first_ms = records[0].offset, records[0].time_ms
    written = bytearray()
    for offset, time_ms, key, value, headers in records:
        fields = b"".join(
            (
                b"\0",  # attributes: none is in use
                encode_number(time_ms - first_ms),
                encode_number(offset - first_offset),
                _NO_VALUE if key is None else encode_number(len(key)) + key,
                _NO_VALUE if value is None else encode_number(len(value)) + value,
                _encode_headers(headers) if headers else _NO_HEADERS,
            )
        )
        written += encode_number(len(fields))
        written += fields
    return bytes(written)


@lru_cache(maxsize=4096)
def encode_number(number: int) -> bytes:
    """A number in as many bytes as it needs. Sizes and deltas are much the same everywhere: most are found written."""
    number = number << 1 ^ number >> _MAX_SHIFT
    written = bytearray()
    while number >= _MORE:
        written.append(number & 0x7F | _MORE)
        number >>= 7
    written.append(number)
    return bytes(written)


def _encode_headers(headers: tuple[tuple[str, bytes | None], ...]) -> bytes:
    written = bytearray(encode_number(len(headers)))
    for each, value in headers:
        name = each.encode()
        written += encode_number(len(name)) + name
        written += _NO_VALUE if value is None else encode_number(len(value)) + value
    return bytes(written)


def _pass(data: bytes, count: int) -> int:
    """Where the record behind so many begins. They are not looked into, which takes a tenth of what that takes."""
    position = 0
    try:
        for _ in range(count):
            size = data[position]
            position += 1
            if size >= _MORE:
                size, position = _rest(data, position, size)
            if size & 1:
                raise RecordsError(_OUT_OF_PLACE)
            position += size >> 1
    except IndexError:
        raise RecordsError(_OUT_OF_PLACE) from None
    return position


def _decode(data: bytes, header: Header, first: int, position: int) -> Iterator[Record]:
    """Each number is read where it stands if it has one byte, as nearly all have: a call takes longer than that."""
    base_offset, base_ms, last_delta = header.base_offset, header.base_ms, header.last_offset_delta
    append_ms = header.max_ms if header.attributes & APPEND_TIME else None
    previous = first - 1
    new = tuple.__new__
    try:
        for _ in range(header.records - first):
            size = data[position]
            position += 1
            if size >= _MORE:
                size, position = _rest(data, position, size)
            end = position + (size >> 1 ^ -(size & 1))
            position += 1  # attributes: none is in use
            delta_ms = data[position]
            position += 1
            if delta_ms >= _MORE:
                delta_ms, position = _rest(data, position, delta_ms)
            delta = data[position]
            position += 1
            if delta >= _MORE:
                delta, position = _rest(data, position, delta)
            delta = delta >> 1 ^ -(delta & 1)
            key, position = _value(data, position) if data[position] != _NO_SIZE else (None, position + 1)
            value, position = _value(data, position)
            headers: tuple[tuple[str, bytes | None], ...] = ()
            if data[position]:
                headers, position = _headers(data, position)
            else:
                position += 1
            time_ms = base_ms + (delta_ms >> 1 ^ -(delta_ms & 1)) if append_ms is None else append_ms
            if position != end or not previous < delta <= last_delta or not -_TIMES <= time_ms < _TIMES:
                raise RecordsError(_OUT_OF_PLACE)
            previous = delta
            yield new(Record, (base_offset + delta, time_ms, key, value, headers))
    except IndexError:
        raise RecordsError(_OUT_OF_PLACE) from None
    if position != len(data):
        raise RecordsError("there is more behind them")


def _rest(data: bytes, position: int, number: int) -> tuple[int, int]:
    """A number of which the first byte was read, its sign still in its lowest bit, and where it ends."""
    number &= 0x7F
    for shift in range(7, _MAX_SHIFT + 1, 7):
        byte = data[position]
        position += 1
        if byte < _MORE:
            number |= byte << shift
            if number >> _MAX_SHIFT + 1:
                break
            return number, position
        number |= (byte & 0x7F) << shift
    raise RecordsError(_OUT_OF_PLACE)


def _value(data: bytes, position: int) -> tuple[bytes | None, int]:
    """A value behind its size, None if that is negative; and where it ends."""
    size = data[position]
    position += 1
    if size >= _MORE:
        size, position = _rest(data, position, size)
    if size & 1:
        return None, position
    end = position + (size >> 1)
    if end > len(data):
        raise RecordsError(_OUT_OF_PLACE)
    return data[position:end], end


def _headers(data: bytes, position: int) -> tuple[tuple[tuple[str, bytes | None], ...], int]:
    """Headers behind their count, and where they end. A name that is no UTF-8 is told in Python's way."""
    count = data[position]
    position += 1
    if count >= _MORE:
        count, position = _rest(data, position, count)
    count = count >> 1 ^ -(count & 1)
    if not 0 <= count <= _MAX_HEADERS:
        raise RecordsError(f"a record cannot have {count:,} headers")
    headers = []
    for _ in range(count):
        name, position = _value(data, position)
        if name is None:
            raise RecordsError(_OUT_OF_PLACE)
        value, position = _value(data, position)
        headers.append((name.decode(errors="backslashreplace"), value))
    return tuple(headers), position
