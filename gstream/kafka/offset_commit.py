"""OffsetCommit (8), versions 1 to 8: keep how far a group has come.

From a member, which says the generation it belongs to; or, in the name of a group that has no members, from anybody
(generation -1): consumers that choose their partitions themselves, and tools. Leader epochs since version 6 (KIP-320),
static members since version 7 (KIP-345). What a client wants about how long offsets are kept (versions 1 to 4) is not
asked: the group's last use counts (KIP-211). Answered when it is on disk.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from kafka.protocol.consumer import OffsetCommitRequest, OffsetCommitResponse

from gstream.errors import GstreamError
from gstream.kafka.api import Api, Context, Deferred, Reply
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Committed, Place, check_metadata
from gstream.kafka.rows import in_turns
from gstream.kafka.topics import partition

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]


def handle(node: Node, request: Any, context: Context) -> Reply:  # noqa: ARG001
    """Commit what can be; each partition has an answer of its own."""
    group = request.group_id or ""
    codes: dict[Place, Code] = {}
    try:
        instance_id = request.group_instance_id
        offsets = _read(node, request, codes)
        node.groups.check_commit(group, request.generation_id_or_member_epoch, request.member_id or "", instance_id)
        _drop_gone(node, offsets, codes)
        commit = node.groups.commit_offsets(group, offsets) if offsets else None
    except KafkaError as error:
        return _reply(request, defaultdict(lambda code=error.code: code))  # type: ignore[misc]
    if commit is None:
        return _reply(request, codes)

    def finish() -> OffsetCommitResponse:
        if isinstance(commit.error, GstreamError):  # the client commits again, a little later
            codes.update(dict.fromkeys(offsets, Code.COORDINATOR_NOT_AVAILABLE))
        elif commit.error is not None:
            codes.update(dict.fromkeys(offsets, Code.UNKNOWN_SERVER_ERROR))
        return _reply(request, codes)

    return Deferred(commit, finish)


def _read(node: Node, request: Any, codes: dict[Place, Code]) -> dict[Place, Committed]:
    """What is to be committed; why the rest cannot be is put into ``codes``."""
    offsets: dict[Place, Committed] = {}
    for topic in request.topics:
        for each in in_turns(topic.partitions):
            place = topic.name, each.partition_index
            try:
                partition(node, *place)
                codes[place] = check_metadata(each.committed_metadata)
            except KafkaError as error:
                codes[place] = error.code
            if codes[place] is Code.NONE:
                metadata = each.committed_metadata or ""
                offsets[place] = Committed(each.committed_offset, each.committed_leader_epoch, metadata)
    return offsets


def _drop_gone(node: Node, offsets: dict[Place, Committed], codes: dict[Place, Code]) -> None:
    """Commit nothing in topics that were removed since it was read: others may have had turns meanwhile."""
    for place in list(offsets):
        try:
            partition(node, *place)
        except KafkaError as error:
            codes[place] = error.code
            del offsets[place]


def _reply(request: Any, codes: dict[Place, Code]) -> OffsetCommitResponse:
    kind = OffsetCommitResponse.OffsetCommitResponseTopic
    topics = [
        kind(
            name=topic.name,
            partitions=[
                kind.OffsetCommitResponsePartition(
                    partition_index=each.partition_index, error_code=codes[topic.name, each.partition_index]
                )
                for each in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    return OffsetCommitResponse(throttle_time_ms=0, topics=topics)


API = Api(
    key=8,
    name="OffsetCommit",
    versions=range(1, 9),
    handle=handle,
    request=OffsetCommitRequest,
    response=OffsetCommitResponse,
)
