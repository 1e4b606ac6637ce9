"""OffsetForLeaderEpoch (23), versions 0 to 4: where the records of a leader's epoch end (KIP-101, KIP-320).

There is one epoch, 0, and it ends where the partition does: nothing that a client has read was ever taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.consumer import OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import KafkaError
from gstream.kafka.reading import LEADER_EPOCH, check_epoch
from gstream.kafka.topics import partition

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]


def handle(node: Node, request: Any, context: Context) -> OffsetForLeaderEpochResponse:  # noqa: ARG001
    """Look each of them up."""
    kind = OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult
    topics = []
    for asked in request.topics:
        rows = []
        for each in asked.partitions:
            row = kind.EpochEndOffset(partition=each.partition, leader_epoch=-1, end_offset=-1)
            try:
                _, log = partition(node, asked.topic, each.partition)
                check_epoch(each.current_leader_epoch)
            except KafkaError as error:
                row.error_code = error.code
            else:
                if each.leader_epoch == LEADER_EPOCH:  # of others nothing is known: -1
                    row.leader_epoch, row.end_offset = LEADER_EPOCH, log.end_offset
            rows.append(row)
        topics.append(kind(topic=asked.topic, partitions=rows))
    return OffsetForLeaderEpochResponse(throttle_time_ms=0, topics=topics)


API = Api(
    key=23,
    name="OffsetForLeaderEpoch",
    versions=range(5),
    handle=handle,
    request=OffsetForLeaderEpochRequest,
    response=OffsetForLeaderEpochResponse,
)
