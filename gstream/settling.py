"""Settling leases, executed: what became of messages that a client had leased, and the replies to that.

A message that dies is stored as a dead letter before that is answered, so these may block their greenlet. Knows no
socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from gstream import protocol
from gstream.consumer import Consumer
from gstream.errors import ArgumentError
from gstream.group import Group
from gstream.publishing import Client
from gstream.scope import Scope
from gstream.topic import DEAD_LETTERS

__all__ = ["Settling", "settle"]

Settling: TypeAlias = (
    protocol.Acknowledge | protocol.Release | protocol.GiveBack | protocol.Extend | protocol.DeadLetter
)


def settle(scope: Scope, command: Settling, client: Client) -> None:
    """Acknowledge, give back, extend or bury what this client has leased. Raises ArgumentError, DiskError."""
    if isinstance(command, protocol.DeadLetter) and scope.topic_name.endswith(DEAD_LETTERS):
        raise ArgumentError("these are dead letters already; a1 ends it, n1 gives it back")
    held = scope.held()
    gone: Sequence[int]
    if isinstance(command, protocol.Acknowledge):
        gone = command.ids if held is None else held[0].acknowledge(held[1], command.ids)
        done = b"%d" % len(command.ids)
    elif isinstance(command, protocol.Release):
        gone = command.ids if held is None else held[0].release(held[1], command.ids)
        done = b"%d" % len(command.ids)
    else:
        gone = [] if held is not None and _settle_one(*held, command, client) else [command.id]
        done = protocol.encode_id(command.id, scope.several)
    if gone:
        client.write(protocol.encode_ids_gone(gone, scope.several, command.eol))
    else:
        client.write(protocol.encode_done(done, command.eol))


def _settle_one(
    group: Group, consumer: Consumer, command: protocol.GiveBack | protocol.Extend | protocol.DeadLetter, client: Client
) -> bool:
    """Whether the message was leased."""
    if isinstance(command, protocol.GiveBack):
        return group.return_lease(consumer, command.id, command.seconds)
    if isinstance(command, protocol.Extend):
        return group.extend(consumer, command.id, command.seconds)
    why = command.why.decode(errors="replace") or "no reason was given"
    was_leased = group.bury(consumer, command.id, why)
    if was_leased and group.commit is not None:
        client.wait_for(group.commit)
    return was_leased
