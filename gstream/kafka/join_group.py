"""JoinGroup (11), versions 0 to 9: become a member of a group, and be told its next generation when all are there.

Who joins without an id is given one, and from version 4 on has to come again with it (KIP-394); who names an instance
is a static member, and need not (KIP-345, version 5). The leader alone is told who the others are, and need not share
out the work (version 9, KIP-814) when a static leader has come back and nothing has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.consumer import JoinGroupRequest, JoinGroupResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.member import Joined, Joining

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

IDS_FROM = 4
NULL_PROTOCOL_FROM = 7
SKIPPING_FROM = 9

MIN_SESSION_MS, MAX_SESSION_MS = 10, 30 * 60 * 1000
"""Kafka's lower bound is 6 seconds; tests do not want to wait so long for a member that is gone."""

MAX_TIMEOUT_SECONDS = 24 * 3600.0
"""Nobody is waited for longer."""

MAX_PROTOCOLS = 100
"""Clients have two or three."""

MAX_NAME_CHARACTERS = 1000
"""Of an instance, a protocol and its type: others are told them, in versions where there is little room, too."""


def handle(node: Node, request: Any, context: Context) -> JoinGroupResponse:
    """Join. Blocks this greenlet until all members of the group have done so."""
    try:
        joined = _join(node, request, context)
    except KafkaError as error:
        joined = Joined(error.code, request.member_id or "")
    kind = JoinGroupResponse.JoinGroupResponseMember
    protocol = joined.protocol
    members = [kind(member_id=id, group_instance_id=instance, metadata=data) for id, instance, data in joined.members]
    return JoinGroupResponse(
        throttle_time_ms=0,
        error_code=joined.code,
        generation_id=joined.generation,
        protocol_type=joined.protocol_type,
        protocol_name="" if protocol is None and context.version < NULL_PROTOCOL_FROM else protocol,
        leader=joined.leader,
        skip_assignment=joined.skips_assignment,
        member_id=joined.member_id,
        members=members,
    )


def _join(node: Node, request: Any, context: Context) -> Joined:
    groups = node.groups
    groups.check()
    if not request.group_id:
        raise KafkaError(Code.INVALID_GROUP_ID)
    if not MIN_SESSION_MS <= request.session_timeout_ms <= MAX_SESSION_MS:
        raise KafkaError(Code.INVALID_SESSION_TIMEOUT)
    names = [request.protocol_type, request.group_instance_id, *(each.name for each in request.protocols)]
    if len(request.protocols) > MAX_PROTOCOLS or max(len(name or "") for name in names) > MAX_NAME_CHARACTERS:
        raise KafkaError(Code.INVALID_REQUEST)
    joining = _read(request, context)
    if joining.member_id and groups.find(request.group_id) is None:
        groups.check_name(request.group_id)
        raise KafkaError(Code.UNKNOWN_MEMBER_ID)
    group = groups.find_or_make(request.group_id)
    try:
        if group.roster.needs_room(joining):  # others go on: they would take it for the end
            groups.check_room()
        answer = group.join(joining)
    except KafkaError:
        groups.drop_unused(group)
        raise
    joined = answer.get()
    assert joined is not None
    return joined


def _read(request: Any, context: Context) -> Joining:
    session_seconds = request.session_timeout_ms / 1000
    rebalance_seconds = request.rebalance_timeout_ms / 1000
    return Joining(
        member_id=request.member_id or "",
        protocol_type=request.protocol_type or "",
        protocols=tuple((each.name or "", each.metadata or b"") for each in request.protocols),
        session_seconds=session_seconds,
        rebalance_seconds=min(rebalance_seconds, MAX_TIMEOUT_SECONDS) if rebalance_seconds > 0 else session_seconds,
        instance_id=request.group_instance_id,
        client_id=context.client_id or "",
        client_host=f"/{context.peer.host}",
        needs_id=context.version >= IDS_FROM,
        can_skip=context.version >= SKIPPING_FROM,
        is_gone=context.is_gone,
    )


API = Api(
    key=11,
    name="JoinGroup",
    versions=range(10),
    handle=handle,
    request=JoinGroupRequest,
    response=JoinGroupResponse,
)
