"""SyncGroup (14), versions 0 to 5: a member asks for its part of the work, and the leader says what everybody's is.

Static members since version 3 (KIP-345); from version 5 on a member says what it takes the group's protocol for
(KIP-559).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.consumer import SyncGroupRequest, SyncGroupResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.member import Synced

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]


def handle(node: Node, request: Any, context: Context) -> SyncGroupResponse:  # noqa: ARG001
    """Ask. Blocks this greenlet until the leader has shared the work out."""
    try:
        synced = _sync(node, request)
    except KafkaError as error:
        synced = Synced(error.code)
    return SyncGroupResponse(
        throttle_time_ms=0,
        error_code=synced.code,
        protocol_type=synced.protocol_type,
        protocol_name=synced.protocol,
        assignment=synced.assignment,
    )


def _sync(node: Node, request: Any) -> Synced:
    node.groups.check()
    if not request.group_id:
        raise KafkaError(Code.INVALID_GROUP_ID)
    group = node.groups.find(request.group_id)
    if group is None:
        raise KafkaError(Code.UNKNOWN_MEMBER_ID)
    assignments = [(each.member_id, each.assignment or b"") for each in request.assignments]
    answer = group.sync(
        request.generation_id,
        request.member_id or "",
        request.group_instance_id,
        assignments,
        request.protocol_type,
        request.protocol_name,
    )
    synced = answer.get()
    assert synced is not None
    return synced


API = Api(
    key=14,
    name="SyncGroup",
    versions=range(6),
    handle=handle,
    request=SyncGroupRequest,
    response=SyncGroupResponse,
)
