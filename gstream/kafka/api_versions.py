"""ApiVersions (18), versions 0 to 4: which APIs are served in which versions.

The first request of nearly every client, and the one whose reply never has tagged fields in its header: a client that
asks in too new a version must be able to read the answer, which is error 35 and the range of this API, in the shape of
version 0 (KIP-511). The body has no tagged fields either: librdkafka before 2.2 does not skip them well. From version 3
on clients say what they are, which is logged with what they do wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import TYPE_CHECKING, Final

from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse

from gstream.kafka.api import Api, Context, Reply
from gstream.kafka.codes import Code
from gstream.kafka.encoding import INT16, INT32, encode_unsigned

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["KEY", "UNSUPPORTED", "encode", "serving"]

KEY: Final = 18
NAME = "ApiVersions"
VERSIONS = range(5)
THROTTLED_FROM = 1
FLEXIBLE_FROM = 3

SHOWN_CHARACTERS = 100
"""Of what a client calls itself."""

_ROW = Struct(">hhh")
_NO_TAGS = b"\0"

Ranges = Iterable[tuple[int, range]]


def encode(version: int, ranges: Ranges, code: Code = Code.NONE) -> bytes:
    """The body of a reply: which versions there are of which APIs."""
    rows = [_ROW.pack(key, versions[0], versions[-1]) for key, versions in ranges]
    if version < FLEXIBLE_FROM:
        body = INT16.pack(code) + INT32.pack(len(rows)) + b"".join(rows)
    else:
        body = INT16.pack(code) + encode_unsigned(len(rows) + 1) + b"".join([row + _NO_TAGS for row in rows])
    if version >= THROTTLED_FROM:
        body += INT32.pack(0)
    return body if version < FLEXIBLE_FROM else body + _NO_TAGS


UNSUPPORTED = encode(0, [(KEY, VERSIONS)], Code.UNSUPPORTED_VERSION)
"""What is answered in any version that is not served."""


def serving(apis: Iterable[Api]) -> Api:
    """The row of this API, in a table of these others."""
    ranges = sorted([(KEY, VERSIONS), *((api.key, api.versions) for api in apis)], key=lambda row: row[0])
    bodies = [encode(version, ranges) for version in VERSIONS]

    def handle(_node: Node, request: ApiVersionsRequest, context: Context) -> Reply:
        if context.version >= FLEXIBLE_FROM:
            context.peer.software_name = _shown(request.client_software_name)
            context.peer.software_version = _shown(request.client_software_version)
        return [bodies[context.version]]

    return Api(KEY, NAME, VERSIONS, handle, ApiVersionsRequest, ApiVersionsResponse)


def _shown(text: str | None) -> str:
    """What a client says, as it may stand in a line of the log."""
    return "".join(each if each.isprintable() else "?" for each in (text or "")[:SHOWN_CHARACTERS])
