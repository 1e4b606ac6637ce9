"""The body of a reply to Metadata, encoded by hand: clients ask for it often, and servers may have many partitions.

A partition's entry is the same for all but its number. Knows no topic of the broker.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from gstream.kafka.codes import Code
from gstream.kafka.encoding import INT16, INT32, encode_compact_string, encode_string, encode_unsigned
from gstream.kafka.operations import NOT_ASKED

__all__ = ["TopicReply", "encode"]

RACK_FROM = CONTROLLER_FROM = INTERNAL_FROM = 1
CLUSTER_FROM = 2
THROTTLED_FROM = 3
OFFLINE_FROM = 5
EPOCH_FROM = 7
OPERATIONS_FROM = 8
CLUSTER_OPERATIONS = range(8, 11)
FLEXIBLE_FROM = 9
IDS_FROM = 10

KEPT_LISTS = 256
"""So many different lists of partitions are kept encoded: topics mostly have as many as others."""

NO_ID = uuid.UUID(int=0)
_NO_TAGS = b"\0"
_EPOCH = 0


class TopicReply(NamedTuple):
    """What is told of a topic: why nothing more is, or how many partitions it has.

    name: None if it was asked for by an id that nothing has. operations: the bits of what the client may do.
    """

    name: str | None
    partitions: int = 0
    id: uuid.UUID = NO_ID
    code: Code = Code.NONE
    operations: int = NOT_ASKED


def encode(
    version: int,
    broker: tuple[int, str, int],
    cluster_id: str,
    topics: Sequence[TopicReply],
    operations: int = NOT_ASKED,
) -> list[bytes]:
    """The body of a reply, in parts.

    broker: the id, host and port of the one that there is, which leads everything.
    operations: the bits of what the client may do with the cluster.
    """
    node_id, host, port = broker
    flexible = version >= FLEXIBLE_FROM
    text = encode_compact_string if flexible else encode_string
    end = _NO_TAGS if flexible else b""
    parts = [INT32.pack(0)] if version >= THROTTLED_FROM else []
    parts += (_count(1, flexible), INT32.pack(node_id), text(host), INT32.pack(port))
    if version >= RACK_FROM:
        parts.append(text(None))
    parts.append(end)
    if version >= CLUSTER_FROM:
        parts.append(text(cluster_id))
    if version >= CONTROLLER_FROM:
        parts.append(INT32.pack(node_id))
    parts.append(_count(len(topics), flexible))
    for topic in topics:
        parts += (INT16.pack(topic.code), text(topic.name))
        if version >= IDS_FROM:
            parts.append(topic.id.bytes)
        if version >= INTERNAL_FROM:
            parts.append(b"\0")
        parts.append(_partitions(topic.partitions, node_id, version))
        if version >= OPERATIONS_FROM:
            parts.append(INT32.pack(topic.operations))
        parts.append(end)
    if version in CLUSTER_OPERATIONS:
        parts.append(INT32.pack(operations))
    parts.append(end)
    return parts


@lru_cache(KEPT_LISTS)
def _partitions(count: int, node_id: int, version: int) -> bytes:
    """The entries of so many partitions, with the number of them before."""
    flexible = version >= FLEXIBLE_FROM
    node = INT32.pack(node_id)
    behind = node
    if version >= EPOCH_FROM:
        behind += INT32.pack(_EPOCH)
    behind += 2 * (_count(1, flexible) + node)  # the replicas, and those in sync
    if version >= OFFLINE_FROM:
        behind += _count(0, flexible)
    if flexible:
        behind += _NO_TAGS
    before = INT16.pack(Code.NONE)
    return _count(count, flexible) + b"".join([before + INT32.pack(number) + behind for number in range(count)])


def _count(count: int, flexible: bool) -> bytes:
    return encode_unsigned(count + 1) if flexible else INT32.pack(count)
