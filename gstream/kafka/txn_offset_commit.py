"""TxnOffsetCommit (28), versions 0 to 3: offsets that a group has come to when a transaction is committed (KIP-98).

They wait for its end. From version 3 on it is checked that the producer's consumer is still a member of the group
(KIP-447). The group must have been added to the transaction (KIP-890).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.producer import TxnOffsetCommitRequest, TxnOffsetCommitResponse

from gstream.kafka.api import Api, Context, Reply
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Committed, Place, check_metadata
from gstream.kafka.rows import in_turns
from gstream.kafka.topics import partition
from gstream.kafka.transaction import Identity
from gstream.kafka.transaction_store import wait_for
from gstream.kafka.transactions import code_in

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

MEMBERS_FROM = 3
NO_FENCED = 1 << 15
"""No version of it knows PRODUCER_FENCED."""
NO_GENERATION = -1

TopicResult = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic
PartitionResult = TopicResult.TxnOffsetCommitResponsePartition


def handle(node: Node, request: TxnOffsetCommitRequest, context: Context) -> Reply:
    """Have the offsets wait for the end of the producer's transaction. Blocks until they are kept."""
    codes, offsets = _sort(node, request)
    try:
        _add(node, request, context.version, offsets)
    except KafkaError as error:
        code = code_in(context.version, NO_FENCED, error)
        codes = {**codes, **dict.fromkeys(offsets, code)}
    topics = [
        TopicResult(
            name=topic.name,
            partitions=[
                PartitionResult(
                    partition_index=each.partition_index,
                    error_code=codes.get((topic.name, each.partition_index), Code.NONE),
                )
                for each in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    return TxnOffsetCommitResponse(throttle_time_ms=0, topics=topics)


def _sort(node: Node, request: Any) -> tuple[dict[Place, Code], dict[Place, Committed]]:
    """What is wrong with some of the offsets, and the others."""
    codes: dict[Place, Code] = {}
    offsets: dict[Place, Committed] = {}
    for topic in request.topics:
        for each in in_turns(topic.partitions):  # what is gone when they are added is not committed at the end
            place = topic.name, each.partition_index
            try:
                partition(node, *place)
            except KafkaError as error:
                codes[place] = error.code
                continue
            code = check_metadata(each.committed_metadata)
            if code is not Code.NONE:
                codes[place] = code
                continue
            offsets[place] = Committed(
                each.committed_offset, each.committed_leader_epoch, each.committed_metadata or ""
            )
    return codes, offsets


def _add(node: Node, request: Any, version: int, offsets: dict[Place, Committed]) -> None:
    identity = Identity(request.producer_id, request.producer_epoch)
    node.transactions.check_group(request.transactional_id, identity, request.group_id)
    member_id, instance_id, generation = "", None, NO_GENERATION
    if version >= MEMBERS_FROM:
        member_id, instance_id = request.member_id, request.group_instance_id
        generation = request.generation_id
    node.groups.check_txn_commit(request.group_id, member_id, instance_id, generation)
    commit = node.groups.add_pending(request.group_id, identity.id, offsets)
    if commit is not None:
        wait_for(commit)


API = Api(28, "TxnOffsetCommit", range(4), handle, TxnOffsetCommitRequest, TxnOffsetCommitResponse)
