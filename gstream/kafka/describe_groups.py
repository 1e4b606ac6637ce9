"""DescribeGroups (15), versions 0 to 5: the state of groups, and who is in them.

What members have said, and their parts of the work, are told only while they hold. A group that does not exist is
dead, and that is no error. Static members since version 4 (KIP-345), what a client may do since version 3 (KIP-430).
Groups of the line protocol are described, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import DescribeGroupsRequest, DescribeGroupsResponse

from gstream.kafka import line_groups
from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.group import Group, State
from gstream.kafka.operations import GROUP_OPERATIONS
from gstream.kafka.rows import in_turns

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

MAX_BYTES = 256 * 1024
"""A reply has a row for every few bytes of a request, and takes a while."""

Described = DescribeGroupsResponse.DescribedGroup
DescribedMember = Described.DescribedGroupMember


def handle(node: Node, request: Any, context: Context) -> DescribeGroupsResponse:  # noqa: ARG001
    """Describe each of them."""
    described = [_describe(node, name or "") for name in in_turns(dict.fromkeys(request.groups))]
    if request.include_authorized_operations:
        for each in described:
            each.authorized_operations = set(GROUP_OPERATIONS)
    return DescribeGroupsResponse(throttle_time_ms=0, groups=described)


def _describe(node: Node, name: str) -> Any:
    try:
        node.groups.check()
    except KafkaError as error:
        return _row(name, "", "", error.code)
    group = node.groups.find(name)
    if group is not None:
        return _describe_group(group)
    line_group = line_groups.find(node.broker, name)
    if line_group is None:
        return _row(name, State.DEAD, "")
    row = _row(name, line_group.state, line_groups.PROTOCOL_TYPE)
    row.protocol_data = line_groups.NAME
    row.members = [
        DescribedMember(
            member_id=id,
            group_instance_id=None,
            client_id=line_groups.NAME,
            client_host="",
            member_metadata=b"",
            member_assignment=b"",
        )
        for id in line_group.member_ids
    ]
    return row


def _describe_group(group: Group) -> Any:
    is_stable = group.state is State.STABLE
    row = _row(group.name, group.state, group.protocol_type or "")
    row.protocol_data = (group.protocol or "") if is_stable else ""
    row.members = [
        DescribedMember(
            member_id=member.id,
            group_instance_id=member.instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            member_metadata=member.metadata(group.protocol) if is_stable else b"",
            member_assignment=member.assignment if is_stable else b"",
        )
        for member in group.roster
    ]
    return row


def _row(name: str, state: str, protocol_type: str, code: Code = Code.NONE) -> Any:
    return Described(
        error_code=code, group_id=name, group_state=state, protocol_type=protocol_type, protocol_data="", members=[]
    )


API = Api(
    key=15,
    name="DescribeGroups",
    versions=range(6),
    handle=handle,
    request=DescribeGroupsRequest,
    response=DescribeGroupsResponse,
    max_bytes=MAX_BYTES,
)
