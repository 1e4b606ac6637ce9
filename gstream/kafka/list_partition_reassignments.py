"""ListPartitionReassignments (46), version 0: which partitions are being moved between servers: none (KIP-455)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]


def handle(node: Node, request: Any, context: Context) -> Any:  # noqa: ARG001
    """There is one server: nothing moves."""
    return ListPartitionReassignmentsResponse(throttle_time_ms=0, error_code=Code.NONE, error_message=None, topics=[])


API = Api(
    key=46,
    name="ListPartitionReassignments",
    versions=range(1),
    handle=handle,
    request=ListPartitionReassignmentsRequest,
    response=ListPartitionReassignmentsResponse,
)
