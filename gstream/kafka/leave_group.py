"""LeaveGroup (13), versions 0 to 5: members go, so that the others need not wait until they are missed.

Several at once since version 3, also static ones by their instance alone (KIP-345): that is how an administrator
removes members. From version 5 on they may say why (KIP-800).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.consumer import LeaveGroupRequest, LeaveGroupResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.group import Group
from gstream.kafka.rows import in_turns

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

MAX_BYTES = 256 * 1024
"""A reply has a row for every few bytes of a request, and takes a while."""

SEVERAL_FROM = 3


def handle(node: Node, request: Any, context: Context) -> LeaveGroupResponse:
    """Let them go."""
    try:
        group = _find(node, request.group_id)
    except KafkaError as error:
        return LeaveGroupResponse(throttle_time_ms=0, error_code=error.code, members=[])
    if context.version < SEVERAL_FROM:
        code = _leave(group, request.member_id or "", None)
        return LeaveGroupResponse(throttle_time_ms=0, error_code=code)
    kind = LeaveGroupResponse.MemberResponse
    rows = []
    for each in in_turns(request.members):
        id, instance_id = each.member_id or "", each.group_instance_id
        # Both as they were asked for: Kafka's own admin client looks for that, and not for what the member is called.
        rows.append(kind(member_id=id, group_instance_id=instance_id, error_code=_leave(group, id, instance_id)))
    return LeaveGroupResponse(throttle_time_ms=0, error_code=Code.NONE, members=rows)


def _find(node: Node, name: str) -> Group:
    node.groups.check()
    if not name:
        raise KafkaError(Code.INVALID_GROUP_ID)
    group = node.groups.find(name)
    if group is None:
        raise KafkaError(Code.UNKNOWN_MEMBER_ID)
    return group


def _leave(group: Group, member_id: str, instance_id: str | None) -> Code:
    try:
        group.leave(member_id, instance_id)
    except KafkaError as error:
        return error.code
    return Code.NONE


API = Api(
    key=13,
    name="LeaveGroup",
    versions=range(6),
    handle=handle,
    request=LeaveGroupRequest,
    response=LeaveGroupResponse,
    max_bytes=MAX_BYTES,
)
