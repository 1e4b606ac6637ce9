"""OffsetFetch (9), versions 1 to 8: how far groups have come.

In some partitions, or in all in which something was committed (version 2, topics null); of several groups at once in
version 8 (KIP-709). Where nothing was committed the offset is -1, and that is no error. Who must not read what a
transaction is about to replace says so (version 7, KIP-447), and is told to come again. Of a group of the line protocol
it is the offset of the first message that is not done, so that its lag can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kafka.protocol.consumer import OffsetFetchRequest, OffsetFetchResponse

from gstream.kafka import line_groups
from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Committed, Place
from gstream.kafka.rows import in_turns

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

MAX_BYTES = 256 * 1024
"""A reply has a row for every few bytes of a request, and takes a while."""

SEVERAL_FROM = 8

NOTHING = Committed(-1)


def handle(node: Node, request: Any, context: Context) -> OffsetFetchResponse:
    """Look all of them up."""
    code = Code.NONE
    try:
        node.groups.check()
    except KafkaError as error:
        code = error.code
    if context.version < SEVERAL_FROM:
        kind: Any = OffsetFetchResponse.OffsetFetchResponseTopic
        make = kind.OffsetFetchResponsePartition
        name = request.group_id or ""
        topics = [] if code else _fetch(node, name, request.topics, request.require_stable, kind, make)
        if code and request.topics:  # in version 1 there is no other place for it
            topics = _refuse(request.topics, code, kind, make)
        return OffsetFetchResponse(throttle_time_ms=0, topics=topics, error_code=code)
    group_kind = OffsetFetchResponse.OffsetFetchResponseGroup
    kind = group_kind.OffsetFetchResponseTopics
    groups = []
    asked = {each.group_id or "": each for each in request.groups}  # a group is told once, however often it is named
    for name, each in in_turns(asked.items()):
        make = kind.OffsetFetchResponsePartitions
        topics = [] if code else _fetch(node, name, each.topics, request.require_stable, kind, make)
        groups.append(group_kind(group_id=name, topics=topics, error_code=code))
    return OffsetFetchResponse(throttle_time_ms=0, groups=groups)


def _fetch(node: Node, group: str, asked: Any, is_stable: bool, kind: Any, make: Any) -> list[Any]:
    """The rows of one group's reply."""
    find, places = _offsets_of(node, group)
    if asked is not None:
        places = ((topic.name, index) for topic in asked for index in topic.partition_indexes)
    topics: dict[str, list[Any]] = {} if asked is None else {topic.name: [] for topic in asked}
    for topic, index in in_turns(places):
        code = Code.NONE
        committed = find((topic, index)) or NOTHING
        if is_stable and node.groups.is_pending(group, (topic, index)):
            committed, code = NOTHING, Code.UNSTABLE_OFFSET_COMMIT
        topics.setdefault(topic, []).append(_row(make, index, committed, code))
    return [kind(name=name, partitions=rows) for name, rows in topics.items()]


def _offsets_of(node: Node, name: str) -> tuple[Callable[[Place], Committed | None], Iterable[Place]]:
    """What this group has committed in a partition, and in which it has."""
    group = node.groups.find(name)
    if group is not None:
        offsets = group.offsets
        return offsets.get, _places(offsets)
    lows = {place: Committed(low) for place, low in line_groups.offsets(node.broker, name)}
    return lows.get, lows


def _places(offsets: Iterable[tuple[Place, Committed]]) -> Iterator[Place]:
    for place, _ in offsets:
        yield place


def _refuse(asked: Any, code: Code, kind: Any, make: Any) -> list[Any]:
    return [
        kind(name=topic.name, partitions=[_row(make, index, NOTHING, code) for index in topic.partition_indexes])
        for topic in asked
    ]


def _row(make: Any, index: int, committed: Committed, code: Code) -> Any:
    return make(
        partition_index=index,
        committed_offset=committed.offset,
        committed_leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
        error_code=code,
    )


API = Api(
    key=9,
    name="OffsetFetch",
    versions=range(1, 9),
    handle=handle,
    request=OffsetFetchRequest,
    response=OffsetFetchResponse,
    max_bytes=MAX_BYTES,
)
