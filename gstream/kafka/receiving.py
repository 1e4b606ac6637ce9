"""What a client sends, cut into requests: each is a length in four bytes, and so many bytes.

Small requests are views of what was read. A large one that is not there as a whole gets a buffer of its size, into
which the rest of it is read, so that its records are copied once, by the kernel. The length is checked before anything
is allocated; what speaks HTTP or TLS is known by its first bytes.

Knows no socket, and of a request nothing but its length and which API it is for.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from struct import Struct

__all__ = ["SMALL_BYTES", "ForeignError", "Receiver", "RefusedError"]

SMALL_BYTES = 4 * 1024
"""What there is of an incomplete request that is no larger is kept, and read together with what follows."""

MAPPED_BYTES = 4 << 20
"""A larger buffer is mapped: the system fills it with zeros page by page as the client sends, and not all at once."""

MIN_BYTES = 8
"""Of the shortest header: API, version, correlation id."""

_LENGTH = Struct(">i")
_START = Struct(">ih")

_HTTP = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI ")
_TLS = b"\x16\x03"


class RefusedError(Exception):
    """The client does not keep to the protocol: the text says how. The connection cannot go on."""


class ForeignError(RefusedError):
    """The client speaks another protocol. name: which."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the client speaks {name}")
        self.name = name


class Receiver:
    """The requests of one client.

    limit_of: how large a request to the API of that key may be.
    """

    __slots__ = ("_buffer", "_filled", "_kept", "_limit_of", "_started", "refused", "wanted_bytes")

    def __init__(self, limit_of: Callable[[int], int]) -> None:
        self._limit_of = limit_of
        self._kept = b""
        self._started = False
        self._buffer: memoryview | None = None
        self._filled = 0
        self.refused: RefusedError | None = None
        """Why what follows the requests that there are is none; nothing more is taken."""
        self.wanted_bytes = 0
        """The size of a large request that has begun, and for which there is no buffer yet."""

    @property
    def is_incomplete(self) -> bool:
        """Whether a request has begun and is not there as a whole."""
        return bool(self._kept) or self._buffer is not None

    def feed(self, data: bytes) -> list[memoryview]:
        """The requests that are whole with this data."""
        if self._kept:
            data = self._kept + data
            self._kept = b""
        if not self._started:
            self._look(data)
        view = memoryview(data)
        requests = []
        position, end = 0, len(data)
        while self.refused is None and end - position >= _START.size:
            size, key = _START.unpack_from(data, position)
            begin = position + _LENGTH.size
            if not MIN_BYTES <= size <= self._limit_of(key):
                self._refuse(size, key)
            elif begin + size > end:
                self.wanted_bytes = size if size > SMALL_BYTES else 0
                break
            else:
                position = begin + size
                requests.append(view[begin:position])
        if position < end and self.refused is None:
            self._kept = data[position:]
        return requests

    def make_buffer(self) -> None:
        """Make the buffer for the request of ``wanted_bytes``."""
        size, kept = self.wanted_bytes, self._kept
        self._buffer = memoryview(mmap.mmap(-1, size) if size > MAPPED_BYTES else bytearray(size))
        self._filled = len(kept) - _LENGTH.size
        self._buffer[: self._filled] = memoryview(kept)[_LENGTH.size :]
        self._kept = b""
        self.wanted_bytes = 0

    @property
    def rest(self) -> memoryview | None:
        """Where the rest of a large request is to be read to; None: there is no such request."""
        return None if self._buffer is None else self._buffer[self._filled :]

    def received(self, size: int) -> memoryview | None:
        """So many bytes were read to there; the request, if it is whole."""
        buffer = self._buffer
        assert buffer is not None
        self._filled += size
        if self._filled < len(buffer):
            return None
        self._buffer = None
        return buffer

    def _look(self, data: bytes) -> None:
        """Look at the beginning of the connection."""
        if data.startswith(_HTTP):
            self.refused = ForeignError("HTTP")
        elif data.startswith(_TLS):
            self.refused = ForeignError("TLS")
        self._started = len(data) >= _START.size

    def _refuse(self, size: int, key: int) -> None:
        limit = self._limit_of(key)
        many = f"more than {limit}" if size > limit else f"less than {MIN_BYTES}"
        self.refused = RefusedError(f"a request of {size} bytes to the API {key}, which is {many}: no Kafka client?")
