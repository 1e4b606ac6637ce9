"""Publishing commands, executed: messages into a topic, and the replies that tell what became of each.

What has to be stored before it is answered is answered later. Knows no socket.
"""

from __future__ import annotations

from typing import Protocol

from gstream import protocol
from gstream.commit import Commit
from gstream.errors import DiskError
from gstream.pending import Refuse
from gstream.topic import Topic

__all__ = ["Client", "publish", "publish_counted"]

REFUSED_AT_ONCE = 1000


class Client(Protocol):
    """Who is answered."""

    def write(self, data: bytes, /) -> None:
        """Queue a reply."""

    def write_when(self, commit: Commit, data: bytes, refuse: Refuse, size: int, /) -> None:
        """Queue a reply for when something is stored that is so large, and what to say if it is not."""

    def wait_for(self, commit: Commit, /) -> None:
        """Return when something is stored. Raises DiskError."""


def publish(topic: Topic, command: protocol.Publish, client: Client) -> None:
    """A run of ``p`` lines."""
    count = command.count
    stored = topic.publish(command.data, count)
    commit = topic.commit
    if stored and commit is not None:
        client.write_when(commit, protocol.encode_oks(stored), _refusal(stored, command.eol), len(command.data))
    elif stored:
        client.write(protocol.encode_oks(stored))
    if stored < count:
        _refuse(topic, count - stored, command.eol, client)


def publish_counted(topic: Topic, command: protocol.PublishCounted, client: Client) -> None:
    """A run of ``P``, or one with fields. Raises FullError, DiskError."""
    eol, several = command.eol, topic.several
    if command.delay_seconds or command.id is not None:
        id = topic.publish_once(command.bodies[0], command.key, command.delay_seconds, command.id)
        stored = count = 1
        reply = protocol.encode_done(b"delayed" if id is None else protocol.encode_id(id, several), eol)
    else:
        count = len(command.bodies)
        stored, first = topic.publish_bodies(command.bodies, command.key)
        reply = protocol.encode_done_ids(range(first, first + stored), several, eol) if stored else b""
    commit = topic.commit
    if stored and commit is not None:
        client.write_when(commit, reply, _refusal(stored, eol), sum(map(len, command.bodies)))
    elif stored:
        client.write(reply)
    _refuse(topic, count - stored, eol, client)


def _refusal(count: int, eol: bytes) -> Refuse:
    return lambda error: protocol.encode_failure(DiskError(str(error)), eol) * count


def _refuse(topic: Topic, count: int, eol: bytes, client: Client) -> None:
    failure = protocol.encode_failure(topic.full_error(), eol)
    while count > 0:
        client.write(failure * min(count, REFUSED_AT_ONCE))
        count -= REFUSED_AT_ONCE
