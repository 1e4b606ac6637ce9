"""ElectLeaders (43), versions 0 to 2: another leader for partitions. None is needed: this server leads all of them.

KIP-183, KIP-460 (from version 1: of unclean elections, too).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import ElectLeadersRequest, ElectLeadersResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.topics import partition

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

PREFERRED, UNCLEAN = 0, 1
TYPES_FROM = 1

MAX_BYTES = 256 * 1024
"""The reply has a text for each number of the request."""

Result = ElectLeadersResponse.ReplicaElectionResult


def handle(node: Node, request: Any, context: Context) -> Any:
    """Say of each partition that is asked for why there was no election; of all of them: that there was none."""
    kind = request.election_type if context.version >= TYPES_FROM else PREFERRED
    if kind not in {PREFERRED, UNCLEAN}:
        return ElectLeadersResponse(throttle_time_ms=0, error_code=Code.INVALID_REQUEST, replica_election_results=[])
    asked: Iterable[Any] = request.topic_partitions or ()
    results = [
        Result(topic=each.topic, partition_result=[_tell(node, each.topic, index) for index in each.partitions])
        for each in asked
    ]
    return ElectLeadersResponse(throttle_time_ms=0, error_code=Code.NONE, replica_election_results=results)


def _tell(node: Node, name: str, index: int) -> Any:
    try:
        partition(node, name, index)
    except KafkaError as error:
        return Result.PartitionResult(
            partition_id=index, error_code=error.code, error_message=f"No such partition as {name}-{index}"
        )
    text = "Leader election not needed for topic partition."
    return Result.PartitionResult(partition_id=index, error_code=Code.ELECTION_NOT_NEEDED, error_message=text)


API = Api(
    key=43,
    name="ElectLeaders",
    versions=range(3),
    handle=handle,
    request=ElectLeadersRequest,
    response=ElectLeadersResponse,
    max_bytes=MAX_BYTES,
)
