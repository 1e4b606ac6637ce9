"""AlterPartitionReassignments (45), version 0: other servers for partitions, of which there are none (KIP-455).

The one server has all of them: to give them to it is done at once, and there is nothing to be cancelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.assignments import check_assignments
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.topics import partition

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

MAX_BYTES = 256 * 1024
"""The reply has a text for each number of the request."""

Result = AlterPartitionReassignmentsResponse.ReassignableTopicResponse
Row = Result.ReassignablePartitionResponse


def handle(node: Node, request: Any, context: Context) -> Any:  # noqa: ARG001
    """Say of each partition whether it is where it is wanted."""
    results = [
        Result(
            name=topic.name,
            partitions=[_tell(node, topic.name, each.partition_index, each.replicas) for each in topic.partitions],
        )
        for topic in request.topics
    ]
    return AlterPartitionReassignmentsResponse(
        throttle_time_ms=0, error_code=Code.NONE, error_message=None, responses=results
    )


def _tell(node: Node, name: str, index: int, wanted: Sequence[int] | None) -> Any:
    try:
        _check(node, name, index, wanted)
    except KafkaError as error:
        return Row(partition_index=index, error_code=error.code, error_message=str(error))
    return Row(partition_index=index, error_code=Code.NONE, error_message=None)


def _check(node: Node, name: str, index: int, wanted: Sequence[int] | None) -> None:
    """Whether these are the servers that have it; None: to cancel what is going on. Raises KafkaError."""
    partition(node, name, index)
    if wanted is None:
        raise KafkaError(Code.NO_REASSIGNMENT_IN_PROGRESS, "No partition reassignment is in progress.")
    check_assignments({node.node_id}, [wanted])


API = Api(
    key=45,
    name="AlterPartitionReassignments",
    versions=range(1),
    handle=handle,
    request=AlterPartitionReassignmentsRequest,
    response=AlterPartitionReassignmentsResponse,
    max_bytes=MAX_BYTES,
)
