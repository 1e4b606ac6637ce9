"""Publishing commands, executed: messages into a topic, and the replies that tell what became of each.

A reply is written when what was published is stored, so these may block their greenlet. Knows no socket.
"""

from __future__ import annotations

from typing import Protocol

from gstream import protocol
from gstream.commit import Commit
from gstream.errors import DiskError, ReplyError
from gstream.topic import Topic

__all__ = ["Client", "publish", "publish_counted"]

REFUSED_AT_ONCE = 1000


class Client(Protocol):
    """Who is answered."""

    def write(self, data: bytes, /) -> None:
        """Queue a reply."""

    def wait_for(self, commit: Commit, /) -> None:
        """Return when something is stored. Raises DiskError."""


def publish(topic: Topic, command: protocol.Publish, client: Client) -> None:
    """A run of ``p`` lines."""
    stored = topic.publish(command.data, command.count)
    commit = topic.commit
    if stored:
        if commit is not None:
            try:
                client.wait_for(commit)
            except DiskError as error:
                _refuse(error, command.count, command.eol, client)
                return
        client.write(protocol.encode_oks(stored))
    if stored < command.count:
        _refuse(topic.full_error(), command.count - stored, command.eol, client)


def publish_counted(topic: Topic, command: protocol.PublishCounted, client: Client) -> None:
    """A run of ``P``, or one with fields. Raises FullError, DiskError."""
    eol, several = command.eol, topic.several
    if command.delay_seconds or command.id is not None:
        id = topic.publish_once(command.bodies[0], command.key, command.delay_seconds, command.id)
        if topic.commit is not None:
            client.wait_for(topic.commit)
        client.write(protocol.encode_done(b"delayed" if id is None else protocol.encode_id(id, several), eol))
        return
    stored, first = topic.publish_bodies(command.bodies, command.key)
    commit = topic.commit
    if stored:
        if commit is not None:
            try:
                client.wait_for(commit)
            except DiskError as error:
                _refuse(error, len(command.bodies), eol, client)
                return
        client.write(protocol.encode_done_ids(range(first, first + stored), several, eol))
    _refuse(topic.full_error(), len(command.bodies) - stored, eol, client)


def _refuse(error: ReplyError, count: int, eol: bytes, client: Client) -> None:
    failure = protocol.encode_failure(error, eol)
    while count > 0:
        client.write(failure * min(count, REFUSED_AT_ONCE))
        count -= REFUSED_AT_ONCE
