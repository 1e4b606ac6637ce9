"""Requests from bytes and replies to bytes, by kafka.protocol, which has all messages in all versions.

What is hot reads and writes its bodies itself (see Api); headers are always read and written here. A header is flexible
(has tagged fields) when its body is, but for the reply to ApiVersions: KIP-482, KIP-511.

Knows no socket, and no API but by its row of the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Any

from gstream.kafka import api_versions
from gstream.kafka.api import Api, Body, Buffer
from gstream.kafka.encoding import INT16, MalformedError, skip_tags
from gstream.kafka.required import check, required_of

__all__ = ["Served", "encode_frame", "read_header", "serve"]

START = Struct(">Ii")
"""Of a request: API and version in one number, and the correlation id."""

_FRAME = Struct(">ii")
_NO_TAGS = b"\0"


class Served:
    """One version of one API."""

    __slots__ = ("_decode", "_decode_by_hand", "_required", "_response_is_flexible", "api", "is_flexible", "version")

    def __init__(self, api: Api, version: int) -> None:
        self.api = api
        self.version = version
        self.is_flexible: bool = api.request.flexible_version_q(version)
        self._response_is_flexible = self.is_flexible and api.key != api_versions.KEY
        self._decode = api.request.decode
        self._decode_by_hand = api.decode
        self._required = required_of(api.request, version)

    def decode(self, body: memoryview) -> Any:
        """The request, from what follows its header. Raises whatever it likes for what is none."""
        if self._decode_by_hand is not None:
            return self._decode_by_hand(body, self.version)
        request = self._decode(body, version=self.version)
        check(request, self._required)
        return request

    def encode(self, correlation_id: int, body: Body) -> list[Buffer]:
        """The frame of a reply."""
        buffers = body if isinstance(body, list) else [body.encode(version=self.version)]
        return encode_frame(correlation_id, buffers, is_flexible=self._response_is_flexible)


def encode_frame(correlation_id: int, buffers: list[Buffer], *, is_flexible: bool) -> list[Buffer]:
    """A reply with its header before these buffers, which are not copied."""
    size = sum(map(len, buffers)) + INT32_BYTES
    if is_flexible:
        return [_FRAME.pack(size + 1, correlation_id) + _NO_TAGS, *buffers]
    return [_FRAME.pack(size, correlation_id), *buffers]


INT32_BYTES = 4


def read_header(frame: memoryview, *, is_flexible: bool) -> tuple[str | None, int]:
    """Of a request: who sends it, and where its body begins. Raises ValueError, IndexError, struct.error."""
    (size,) = INT16.unpack_from(frame, START.size)
    position = START.size + INT16.size
    client_id = None
    if size >= 0:
        end = position + size
        if end > len(frame):
            raise MalformedError("the client id goes on behind the end")
        client_id = str(frame[position:end], "utf-8")
        position = end
    return client_id, skip_tags(frame, position) if is_flexible else position


def serve(apis: Iterable[Api]) -> dict[int, Served]:
    """All versions of these APIs, by the number with which a request begins."""
    return {api.key << 16 | version: Served(api, version) for api in apis for version in api.versions}
