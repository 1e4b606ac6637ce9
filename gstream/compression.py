"""How Kafka's clients compress the records of a batch: gzip, snappy, lz4 and zstd.

What comes out has a bound, and no more than that is ever taken from memory: a few bytes may claim to be gigabytes. All
but gzip is done by cramjam, which is there with ``gstream[kafka]`` and is imported when it is first needed.

Knows no record and no batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from gstream.header import BytesLike

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "CODECS",
    "GZIP",
    "LZ4",
    "NONE",
    "SNAPPY",
    "ZSTD",
    "CompressionError",
    "NotInstalledError",
    "TooLargeError",
    "compress",
    "decompress",
]

NONE: Final = 0
GZIP: Final = 1
SNAPPY: Final = 2
LZ4: Final = 3
ZSTD: Final = 4

CODECS: Final = {NONE: "none", GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}
"""Their names, by the numbers that batches have for them."""

_GZIP_WINDOW_BITS: Final = 31
_GZIP_LEVEL: Final = 6

# Snappy says nothing of where it ends. Java's clients, and others after them, write blocks behind a head of their own.
_SNAPPY_HEAD: Final = b"\x82SNAPPY\0" + b"\0\0\0\1" * 2
_SNAPPY_HEAD_BYTES: Final = len(_SNAPPY_HEAD)
_SNAPPY_MAGIC: Final = _SNAPPY_HEAD[:8]
_SNAPPY_BLOCK_BYTES: Final = 32 << 10
_SIZE: Final = Struct(">I")

_CUT_OFF: Final = "it is cut off"


class CompressionError(ValueError):
    """Something cannot be compressed or unpacked; the text says why."""


class NotInstalledError(CompressionError):
    """There is nothing wrong with it, but the library that does it is missing."""


class TooLargeError(CompressionError):
    """What comes out is more than it may be."""


def compress(codec: int, data: BytesLike) -> bytes:
    """Data as this codec writes them."""
    if codec == NONE:
        return bytes(data)
    if codec == GZIP:
        packing = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS)
        return packing.compress(data) + packing.flush()
    cramjam = _cramjam(codec)
    if codec == SNAPPY:
        return b"".join(_snappy_blocks(cramjam, memoryview(data)))
    return bytes(cramjam.lz4.compress(data) if codec == LZ4 else cramjam.zstd.compress(data))


def decompress(codec: int, data: BytesLike, max_bytes: int) -> bytes:
    """What was compressed by this codec.

    Raises CompressionError if it is broken, and TooLargeError if it is more than ``max_bytes``.
    """
    if codec == NONE:
        if len(data) > max_bytes:
            raise _too_large(max_bytes)
        return bytes(data)
    if codec == GZIP:
        return _unpack_gzip(data, max_bytes)
    cramjam = _cramjam(codec)
    if codec == SNAPPY:
        return _unpack_snappy(cramjam, memoryview(data), max_bytes)
    unpack = cramjam.lz4.decompress_into if codec == LZ4 else cramjam.zstd.decompress_into
    return _unpack_into(cramjam, unpack, data, max_bytes, codec)


def _cramjam(codec: int) -> Any:
    """The library, for one of the codecs that need it."""
    if codec not in CODECS:
        raise CompressionError(f"no codec has the number {codec}")
    try:
        return _import_cramjam()
    except ImportError:
        name = CODECS[codec]
        raise NotInstalledError(f"{name} needs a library that is missing: pip install 'gstream[kafka]'") from None


def _import_cramjam() -> ModuleType:
    import cramjam  # noqa: PLC0415 # most servers never need it

    return cramjam


def _too_large(max_bytes: int) -> TooLargeError:
    return TooLargeError(f"it becomes larger than {max_bytes:,} bytes")


def _broken(codec: int, why: object) -> CompressionError:
    return CompressionError(f"it is no {CODECS[codec]}: {why}")


def _unpack_gzip(data: BytesLike, max_bytes: int) -> bytes:
    unpacking = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        # One byte more than there may be: without it, the end of what just fits would not be reached.
        unpacked = unpacking.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise _broken(GZIP, error) from None
    if len(unpacked) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacking.eof:
        raise _broken(GZIP, _CUT_OFF)
    if unpacking.unused_data:  # one more of the same is possible; nobody sends it, and many would be read very slowly
        raise _broken(GZIP, "there is more behind it")
    return unpacked


def _unpack_snappy(cramjam: Any, data: memoryview, max_bytes: int) -> bytes:
    blocks = _find_blocks(data) if data[: len(_SNAPPY_MAGIC)] == _SNAPPY_MAGIC else (data,)
    unpacked = []
    left = max_bytes
    try:
        for block in blocks:
            left -= cramjam.snappy.decompress_raw_len(block)
            if left < 0:
                raise _too_large(max_bytes)
            unpacked.append(bytes(cramjam.snappy.decompress_raw(block)))
    except cramjam.DecompressionError as error:
        raise _broken(SNAPPY, error) from None
    return b"".join(unpacked)


def _find_blocks(data: memoryview) -> Iterator[memoryview]:
    position = _SNAPPY_HEAD_BYTES
    if len(data) < position:
        raise _broken(SNAPPY, _CUT_OFF)
    while position < len(data):
        start = position + _SIZE.size
        if start > len(data):
            raise _broken(SNAPPY, _CUT_OFF)
        (size,) = _SIZE.unpack_from(data, position)
        position = start + size
        if position > len(data):
            raise _broken(SNAPPY, _CUT_OFF)
        yield data[start:position]


def _snappy_blocks(cramjam: Any, data: memoryview) -> Iterator[bytes]:
    yield _SNAPPY_HEAD
    for start in range(0, len(data), _SNAPPY_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(data[start : start + _SNAPPY_BLOCK_BYTES]))
        yield _SIZE.pack(len(block))
        yield block


def _unpack_into(
    cramjam: Any, unpack: Callable[[BytesLike, mmap], int], data: BytesLike, max_bytes: int, codec: int
) -> bytes:
    """What is written into memory of which the system gives only what is used. None of it is cleared before."""
    with mmap(-1, max(1, max_bytes), MAP_PRIVATE | MAP_ANONYMOUS) as room:
        try:
            size = unpack(data, room)
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error):
                raise _too_large(max_bytes) from None
            raise _broken(codec, error) from None
        return room[:size]
