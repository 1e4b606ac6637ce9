"""A member of a group: a consumer that joins, gets its part of the group's work, and says that it lives.

Knows no wire format, and nothing of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from gevent.event import AsyncResult

from gstream.agenda import Entry
from gstream.kafka.codes import Code

__all__ = ["Joined", "Joining", "Listed", "Member", "Protocols", "Synced"]

Protocols: TypeAlias = "tuple[tuple[str, bytes], ...]"
"""How a member could share the work, each with what it has to say to that: what it likes best comes first."""

MEMBER_BYTES = 1024
"""What a member takes in memory, beside what it says."""


class Listed(NamedTuple):
    """A member as the leader is told of it."""

    id: str
    instance_id: str | None
    metadata: bytes


class Joined(NamedTuple):
    """The answer to who joins: the group's new generation. members: for the leader alone, who shares the work out."""

    code: Code
    member_id: str
    generation: int = -1
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    members: Sequence[Listed] = ()
    skips_assignment: bool = False


class Synced(NamedTuple):
    """The answer to who asks for its part of the work."""

    code: Code
    assignment: bytes = b""
    protocol_type: str | None = None
    protocol: str | None = None


@dataclass
class Joining:
    """Somebody who wants to join, or to join again.

    instance_id: of a static member (KIP-345), which keeps its part while it is away.
    needs_id: whether it joins in two steps (KIP-394): it is given an id first, and joins with that.
    can_skip: whether it knows what a leader is that need not share the work out (KIP-814).
    is_gone: whether nobody waits for the answer any more.
    """

    member_id: str
    protocol_type: str
    protocols: Protocols
    session_seconds: float
    rebalance_seconds: float
    instance_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    needs_id: bool = False
    can_skip: bool = False
    is_gone: Callable[[], bool] = field(default=lambda: False, repr=False)


class Member:
    """One who is in a group.

    joins, syncs: who waits for the answer to a request of this member.
    deadline: at that time, of the agenda's clock, it is taken for dead.
    """

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "deadline",
        "entry",
        "id",
        "instance_id",
        "is_gone",
        "joins",
        "protocols",
        "rebalance_seconds",
        "session_seconds",
        "syncs",
    )

    def __init__(self, id: str, joining: Joining) -> None:
        self.id = id
        self.instance_id = joining.instance_id
        self.assignment = b""
        self.joins: AsyncResult[Joined] | None = None
        self.syncs: AsyncResult[Synced] | None = None
        self.deadline = 0.0
        self.entry: Entry | None = None
        self.update(joining)

    def update(self, joining: Joining) -> None:
        """It has joined again, and may say something else than before."""
        self.client_id = joining.client_id
        self.client_host = joining.client_host
        self.session_seconds = joining.session_seconds
        self.rebalance_seconds = joining.rebalance_seconds
        self.protocols = joining.protocols
        self.is_gone = joining.is_gone

    @property
    def waits(self) -> bool:
        """Whether its client waits for an answer, and can send no heartbeat meanwhile."""
        return (self.joins is not None or self.syncs is not None) and not self.is_gone()

    @property
    def size(self) -> int:
        """How many bytes it takes, about."""
        names = len(self.id) + len(self.instance_id or "") + len(self.client_id)
        return MEMBER_BYTES + names + _size_of(self.protocols) + len(self.assignment)

    def grows(self, joining: Joining) -> bool:
        """Whether it would say more than it does."""
        return _size_of(joining.protocols) > _size_of(self.protocols)

    def metadata(self, protocol: str | None) -> bytes:
        """What it has said to this protocol."""
        return next((metadata for name, metadata in self.protocols if name == protocol), b"")

    def answer_sync(self, synced: Synced) -> None:
        """Answer, if it waits for that."""
        answer, self.syncs = self.syncs, None
        if answer is not None:
            answer.set(synced)

    def forget_time(self) -> None:
        """It does not die any more."""
        if self.entry is not None:
            self.entry.cancel()
            self.entry = None


def _size_of(protocols: Protocols) -> int:
    return sum(len(name) + len(metadata) for name, metadata in protocols)
