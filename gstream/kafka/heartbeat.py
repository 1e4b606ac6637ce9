"""Heartbeat (12), versions 0 to 4: a member lives, and learns whether it has to join again.

Static members since version 3 (KIP-345).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.consumer import HeartbeatRequest, HeartbeatResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]


def handle(node: Node, request: Any, context: Context) -> HeartbeatResponse:  # noqa: ARG001
    """Take note of it."""
    code = Code.NONE
    try:
        _beat(node, request)
    except KafkaError as error:
        code = error.code
    return HeartbeatResponse(throttle_time_ms=0, error_code=code)


def _beat(node: Node, request: Any) -> None:
    node.groups.check()
    if not request.group_id:
        raise KafkaError(Code.INVALID_GROUP_ID)
    group = node.groups.find(request.group_id)
    if group is None:
        raise KafkaError(Code.UNKNOWN_MEMBER_ID)
    group.heartbeat(request.generation_id, request.member_id or "", request.group_instance_id)


API = Api(
    key=12,
    name="Heartbeat",
    versions=range(5),
    handle=handle,
    request=HeartbeatRequest,
    response=HeartbeatResponse,
)
