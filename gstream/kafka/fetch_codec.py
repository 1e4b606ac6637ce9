"""Fetch's replies, by hand: the records lie between what is encoded here, and are not copied.

Versions 4 to 17. What is written is what the library writes, byte for byte. Knows no topic and no socket.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import TypeAlias

from gstream.kafka.encoding import INT32, encode_compact_string, encode_string, encode_unsigned

__all__ = ["IDS_FROM", "SESSIONS_FROM", "Buffer", "PartitionReply", "TopicKey", "encode"]

Buffer: TypeAlias = bytes | bytearray | memoryview

TopicKey: TypeAlias = str | uuid.UUID
"""What a request calls a topic: by its name, and from version 13 by its id."""

START_OFFSET_FROM = 5
SESSIONS_FROM = 7
PREFERRED_REPLICA_FROM = 11
FLEXIBLE_FROM = 12
"""The version of compact lengths and tagged fields."""

IDS_FROM = 13
"""The version that has ids of topics in place of names."""

SMALL_BYTES = 4096
"""Fewer bytes are cheaper to copy than to hand over to the kernel in a buffer of their own."""

_ERROR_AND_SESSION = Struct(">hi")
_ROW = Struct(">ihqqq")
_ABORTED = Struct(">qq")
_NOBODY = INT32.pack(-1)
_NO_THROTTLE = INT32.pack(0)


@dataclass(slots=True)
class PartitionReply:
    """What there is of a partition.

    high_watermark: the end. stable_offset: all before it is decided. start_offset: of the oldest record. -1: not told.
    aborted: (producer id, first offset) of transactions whose records are to be passed over; None: they are not.
    chunks: whole batches, of ``size`` bytes together.
    """

    index: int
    code: int = 0
    high_watermark: int = -1
    stable_offset: int = -1
    start_offset: int = -1
    aborted: Sequence[tuple[int, int]] | None = None
    chunks: list[Buffer] = field(default_factory=list)
    size: int = 0


def encode(topics: Sequence[tuple[TopicKey, Sequence[PartitionReply]]], version: int, code: int = 0) -> list[Buffer]:
    """A reply's body, in pieces. code: what is wrong with the whole request."""
    flexible = version >= FLEXIBLE_FROM
    buffers: list[Buffer] = []
    part = bytearray(_NO_THROTTLE)
    if version >= SESSIONS_FROM:
        part += _ERROR_AND_SESSION.pack(code, 0)
    part += encode_unsigned(len(topics) + 1) if flexible else INT32.pack(len(topics))
    for key, rows in topics:
        if isinstance(key, uuid.UUID):
            part += key.bytes
        else:
            part += encode_compact_string(key) if flexible else encode_string(key)
        part += encode_unsigned(len(rows) + 1) if flexible else INT32.pack(len(rows))
        for row in rows:
            part += _encode_compact(row) if flexible else _encode_plain(row, version)
            if row.size <= SMALL_BYTES * len(row.chunks):
                for chunk in row.chunks:
                    part += chunk
            else:
                buffers.append(part)
                buffers += row.chunks
                part = bytearray()
            if flexible:
                part += b"\0"
        if flexible:
            part += b"\0"
    if flexible:
        part += b"\0"
    if part:
        buffers.append(part)
    return buffers


def _encode_plain(row: PartitionReply, version: int) -> bytes:
    """A row up to its records."""
    packed = _ROW.pack(row.index, row.code, row.high_watermark, row.stable_offset, row.start_offset)
    if version < START_OFFSET_FROM:
        packed = packed[:-8]
    packed += INT32.pack(-1 if row.aborted is None else len(row.aborted))
    for producer_id, first_offset in row.aborted or ():
        packed += _ABORTED.pack(producer_id, first_offset)
    if version >= PREFERRED_REPLICA_FROM:
        packed += _NOBODY
    return packed + INT32.pack(row.size)


def _encode_compact(row: PartitionReply) -> bytes:
    """A row up to its records, which tagged fields follow."""
    packed = _ROW.pack(row.index, row.code, row.high_watermark, row.stable_offset, row.start_offset)
    packed += encode_unsigned(0 if row.aborted is None else len(row.aborted) + 1)
    for producer_id, first_offset in row.aborted or ():
        packed += _ABORTED.pack(producer_id, first_offset) + b"\0"
    return packed + _NOBODY + encode_unsigned(row.size + 1)
