"""Publishing commands, executed: messages into a topic, and the replies that tell what became of each.

Knows no socket: it is given what writes.
"""

from __future__ import annotations

from collections.abc import Callable

from gstream import protocol
from gstream.topic import Topic

__all__ = ["publish", "publish_counted"]

REFUSED_AT_ONCE = 1000


def publish(topic: Topic, command: protocol.Publish, write: Callable[[bytes], None]) -> None:
    """A run of ``p`` lines."""
    stored = topic.publish(command.data, command.count)
    if stored:
        write(protocol.encode_oks(stored))
    if stored < command.count:
        _refuse(topic, command.count - stored, command.eol, write)


def publish_counted(topic: Topic, command: protocol.PublishCounted, write: Callable[[bytes], None]) -> None:
    """A run of ``P``, or one with fields. Raises FullError."""
    eol, several = command.eol, topic.several
    if command.delay_seconds or command.id is not None:
        id = topic.publish_once(command.bodies[0], command.key, command.delay_seconds, command.id)
        write(protocol.encode_done(b"delayed" if id is None else protocol.encode_id(id, several), eol))
        return
    stored, first = topic.publish_bodies(command.bodies, command.key)
    if stored:
        write(protocol.encode_done_ids(range(first, first + stored), several, eol))
    _refuse(topic, len(command.bodies) - stored, eol, write)


def _refuse(topic: Topic, count: int, eol: bytes, write: Callable[[bytes], None]) -> None:
    failure = protocol.encode_failure(topic.full_error(), eol)
    while count > 0:
        write(failure * min(count, REFUSED_AT_ONCE))
        count -= REFUSED_AT_ONCE
