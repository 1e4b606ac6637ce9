"""A group as it is kept over a restart: a line of JSON, with its generation and its members.

Only groups whose work is shared out are kept, or that have no members. Knows no file.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from gstream.kafka.group import Group
from gstream.kafka.member import Joining, Member

__all__ = ["encode", "restore"]


def encode(group: Group, emptied_ms: int) -> bytes:
    """As it is kept. emptied_ms: since when it has no members, in milliseconds since 1970."""
    fields = {
        "generation": group.generation,
        "type": group.protocol_type,
        "protocol": group.protocol,
        "leader": group.roster.leader,
        "emptied_ms": emptied_ms,
        "members": [_encode_member(member) for member in group.roster],
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def _encode_member(member: Member) -> dict[str, object]:
    return {
        "id": member.id,
        "instance": member.instance_id,
        "client": member.client_id,
        "host": member.client_host,
        "session": member.session_seconds,
        "rebalance": member.rebalance_seconds,
        "protocols": [[name, _encode_bytes(metadata)] for name, metadata in member.protocols],
        "assignment": _encode_bytes(member.assignment),
    }


def restore(group: Group, value: bytes) -> int:
    """Make a new group what it was; since when it has no members. Raises ValueError, KeyError and TypeError."""
    fields = json.loads(value)
    members = [_decode_member(group, each) for each in fields["members"]]
    group.generation = int(fields["generation"])
    group.protocol_type = fields["type"]
    group.protocol = fields["protocol"]
    group.restore(members, fields["leader"])
    return int(fields["emptied_ms"])


def _decode_member(group: Group, fields: dict[str, Any]) -> Member:
    joining = Joining(
        fields["id"],
        group.protocol_type or "",
        tuple((name, base64.b64decode(metadata)) for name, metadata in fields["protocols"]),
        float(fields["session"]),
        float(fields["rebalance"]),
        fields["instance"],
        fields["client"],
        fields["host"],
    )
    member = Member(joining.member_id, joining)
    member.assignment = base64.b64decode(fields["assignment"])
    return member


def _encode_bytes(data: bytes) -> str:
    return base64.b64encode(data).decode()
