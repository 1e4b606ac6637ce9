"""Commands about topics and groups themselves, executed: made, changed, removed.

Knows no socket, and nothing of the replies.
"""

from __future__ import annotations

from gstream import protocol
from gstream.commit import Commit
from gstream.scope import Scope

__all__ = ["administrate"]


def administrate(
    scope: Scope, command: protocol.MakeTopic | protocol.RemoveTopic | protocol.ForgetGroup
) -> Commit | None:
    """Do what the command says; when that is kept (None: at once).

    Raises ArgumentError, BusyError, FullError and UnknownNameError.
    """
    broker = scope.broker
    match command:
        case protocol.MakeTopic(name, partitions, retain_bytes, retain_seconds):
            return broker.set_up(name, partitions, retain_bytes, retain_seconds).keep()
        case protocol.RemoveTopic(name):
            return broker.remove(name)
        case protocol.ForgetGroup(name):
            broker.find(scope.topic_name).forget_group(name)
            return None
