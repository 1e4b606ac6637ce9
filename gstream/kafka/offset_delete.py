"""OffsetDelete (47), version 0: forget how far a group has come in some partitions (KIP-496).

Not in those of topics that its members consume. Answered when that is on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.consumer import OffsetDeleteRequest, OffsetDeleteResponse

from gstream.kafka.api import Api, Context, Deferred, Reply
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Place
from gstream.kafka.group import Group, State
from gstream.kafka.subscription import decode_topics
from gstream.kafka.topics import partition

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

MAX_BYTES = 256 * 1024
"""A reply has a row for every few bytes of a request, and takes a while."""

CONSUMERS = "consumer"
"""The protocol type of those who say which topics they consume."""


def handle(node: Node, request: Any, context: Context) -> Reply:  # noqa: ARG001
    """Forget what can be; each partition has an answer of its own."""
    try:
        node.groups.check()
        group, consumed = _find(node, request.group_id or "")
    except KafkaError as error:
        return OffsetDeleteResponse(error_code=error.code, throttle_time_ms=0, topics=[])
    codes: dict[Place, Code] = {}
    for topic in request.topics:
        for each in topic.partitions:
            codes[topic.name, each.partition_index] = _remove(node, group, topic.name, each.partition_index, consumed)
    commit = None if all(codes.values()) else node.groups.commit()

    def finish() -> OffsetDeleteResponse:
        if commit is not None and commit.error is not None:
            return OffsetDeleteResponse(error_code=Code.COORDINATOR_NOT_AVAILABLE, throttle_time_ms=0, topics=[])
        return _reply(request, codes)

    return finish() if commit is None else Deferred(commit, finish)


def _find(node: Node, name: str) -> tuple[Group, set[str]]:
    """The group, and the topics that its members consume. Raises KafkaError."""
    group = node.groups.find(name)
    if group is None:
        raise KafkaError(Code.GROUP_ID_NOT_FOUND)
    consumed: set[str] = set()
    if group.state is not State.EMPTY:
        if group.protocol_type != CONSUMERS:
            raise KafkaError(Code.NON_EMPTY_GROUP)
        for member in group.roster:
            for _, metadata in member.protocols:
                consumed.update(decode_topics(metadata))
    return group, consumed


def _remove(node: Node, group: Group, topic: str, index: int, consumed: set[str]) -> Code:
    try:
        partition(node, topic, index)
    except KafkaError as error:
        return error.code
    if topic in consumed:
        return Code.GROUP_SUBSCRIBED_TO_TOPIC
    group.offsets.remove((topic, index))
    return Code.NONE


def _reply(request: Any, codes: dict[Place, Code]) -> OffsetDeleteResponse:
    kind = OffsetDeleteResponse.OffsetDeleteResponseTopic
    topics = [
        kind(
            name=topic.name,
            partitions=[
                kind.OffsetDeleteResponsePartition(
                    partition_index=each.partition_index, error_code=codes[topic.name, each.partition_index]
                )
                for each in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    return OffsetDeleteResponse(error_code=Code.NONE, throttle_time_ms=0, topics=topics)


API = Api(
    key=47,
    name="OffsetDelete",
    versions=range(1),
    handle=handle,
    request=OffsetDeleteRequest,
    response=OffsetDeleteResponse,
    max_bytes=MAX_BYTES,
)
