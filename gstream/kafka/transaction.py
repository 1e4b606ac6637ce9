"""A transaction, of which each transactional id has one at a time, and in which states it can be.

The producer's identity is its id and an epoch. Each start of a producer raises the epoch, and whoever comes with an
older one is refused: it was replaced. When the epochs are used up, the id is another.

Knows no topic, no file and no clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from gstream.kafka.codes import Code, KafkaError

if TYPE_CHECKING:
    from gstream.agenda import Entry
    from gstream.commit import Commit

__all__ = ["LAST_EPOCH", "NOBODY", "NO_EPOCH", "NO_ID", "Identity", "Partition", "State", "Transaction"]

Partition: TypeAlias = tuple[str, int]
"""A topic's name, and the number of a partition of it."""

NO_ID: Final = -1
NO_EPOCH: Final = -1

LAST_EPOCH: Final = 0x7FFE
"""No producer is given a higher one; the one above it is left for refusing that producer."""

FORMAT: Final = 1
"""Of what is kept."""


class Identity(NamedTuple):
    """Who a producer is."""

    id: int
    epoch: int


NOBODY: Final = Identity(NO_ID, NO_EPOCH)


class State(Enum):
    """How far it is; the names are Kafka's."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


_ENDING = frozenset({State.PREPARE_COMMIT, State.PREPARE_ABORT})


class Transaction:
    """The last transaction of a transactional id, and the producer that has the id.

    timeout_ms: after so long a transaction that was not ended is given up.
    previous: who the same producer was before it became what it is; NOBODY when another one had the id.
    partitions, groups: what takes part: where messages may be, and the groups whose offsets wait for its end.
    begun_ms, changed_ms: when it began, and was changed last; since 1970.
    """

    __slots__ = (
        "begun_ms",
        "changed_ms",
        "commit",
        "ended",
        "groups",
        "id",
        "identity",
        "partitions",
        "previous",
        "state",
        "timeout",
        "timeout_ms",
    )

    def __init__(self, id: str, identity: Identity, timeout_ms: int, now_ms: int) -> None:
        self.id = id
        self.identity = identity
        self.previous = NOBODY
        self.timeout_ms = timeout_ms
        self.state = State.EMPTY
        self.partitions: dict[Partition, None] = {}
        self.groups: dict[str, None] = {}
        self.begun_ms = self.changed_ms = now_ms
        self.commit: Commit | None = None
        """When all that is said here is kept; None: it is."""
        self.ended: Commit | None = None
        """While it is ending: when that was done, or tried in vain."""
        self.timeout: Entry | None = None
        """When it is given up."""

    @property
    def is_ongoing(self) -> bool:
        """Whether something can be added to it."""
        return self.state is State.ONGOING

    @property
    def is_ending(self) -> bool:
        """Whether its end is decided, and not everywhere told yet."""
        return self.state in _ENDING

    @property
    def is_open(self) -> bool:
        """Whether it has begun and is not complete."""
        return self.is_ongoing or self.is_ending

    @property
    def commits(self) -> bool:
        """How it ends, or ended, if it is decided."""
        return self.state in {State.PREPARE_COMMIT, State.COMPLETE_COMMIT}

    @property
    def is_exhausted(self) -> bool:
        """Whether its producer's id has no further epoch to give."""
        return self.identity.epoch >= LAST_EPOCH

    # --- who may do something

    def check(self, identity: Identity) -> None:
        """Whether the producer that has the id says so. Raises KafkaError."""
        if identity.id != self.identity.id:
            raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING)
        if identity.epoch != self.identity.epoch:
            raise KafkaError(Code.PRODUCER_FENCED)

    def check_restart(self, expected: Identity) -> None:
        """Whether the producer that was that may go on as another (KIP-360); NOBODY: anyone may. Raises KafkaError."""
        if expected in {NOBODY, self.identity}:
            return
        if self.is_ongoing or expected != self.previous:  # else its reply was lost, and it asks again
            raise KafkaError(Code.PRODUCER_FENCED)

    # --- the producer

    def restart(self, expected: Identity, new_id: int, timeout_ms: int, now_ms: int) -> None:
        """A producer starts: whoever had the id before is refused from now on. Checked before.

        expected: who the producer was until now; NOBODY: it is another one.
        new_id: for it, if this one's epochs are used up.
        """
        self.timeout_ms = timeout_ms
        self.changed_ms = now_ms
        if expected != NOBODY and expected == self.previous:
            return  # it was told so before
        id, epoch = self.identity
        self.previous = NOBODY if expected == NOBODY else self.identity
        self.identity = Identity(new_id, 0) if self.is_exhausted else Identity(id, epoch + 1)
        self.state = State.EMPTY

    def fence(self) -> None:
        """Refuse the producer from now on, whatever it does: it is given up, or replaced. Nobody has the new epoch."""
        self.previous = NOBODY
        self.identity = Identity(self.identity.id, self.identity.epoch + 1)

    # --- the transaction

    def begin(self, now_ms: int) -> None:
        """Something takes part, and it has begun with that unless it had before. Raises KafkaError while it ends."""
        if self.is_ending:
            raise KafkaError(Code.CONCURRENT_TRANSACTIONS)
        if not self.is_ongoing:
            self.state = State.ONGOING
            self.begun_ms = now_ms
        self.changed_ms = now_ms

    def check_end(self, *, commits: bool) -> bool:
        """Whether there is something to be ended; not, if it has ended so already. Raises KafkaError."""
        if self.is_ongoing:
            return True
        if self.state is State.EMPTY or self.commits != commits:
            raise KafkaError(Code.INVALID_TXN_STATE)
        if self.is_ending:
            raise KafkaError(Code.CONCURRENT_TRANSACTIONS)
        return False

    def prepare(self, now_ms: int, *, commits: bool) -> None:
        """Its end is decided."""
        self.state = State.PREPARE_COMMIT if commits else State.PREPARE_ABORT
        self.changed_ms = now_ms

    def participants(self) -> Iterator[Partition | str]:
        """The partitions, and then the groups."""
        yield from self.partitions
        yield from self.groups

    def tell(self, participant: Partition | str, *, again: bool) -> None:
        """A partition, or a group, was told of its end. again: in vain; it is to be told after all others."""
        if isinstance(participant, str):
            del self.groups[participant]
            if again:
                self.groups[participant] = None
        else:
            del self.partitions[participant]
            if again:
                self.partitions[participant] = None

    def complete(self, now_ms: int) -> None:
        """Everybody who takes part was told of its end."""
        self.state = State.COMPLETE_COMMIT if self.commits else State.COMPLETE_ABORT
        self.partitions.clear()
        self.groups.clear()
        self.changed_ms = now_ms

    # --- what is kept

    def encode(self) -> bytes:
        """Everything that a restart must not forget."""
        partitions: dict[str, list[int]] = {}
        for topic, partition in self.partitions:
            partitions.setdefault(topic, []).append(partition)
        fields = {
            "format": FORMAT,
            "producer": self.identity,
            "previous": self.previous,
            "timeout": self.timeout_ms,
            "state": self.state.value,
            "partitions": partitions,
            "groups": list(self.groups),
            "begun": self.begun_ms,
            "changed": self.changed_ms,
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, id: str, data: bytes) -> Transaction:
        """What was kept. Raises ValueError for what this is not."""
        try:
            return cls._decode(id, json.loads(data))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"what is kept of it is none: {error!r}") from error

    @classmethod
    def _decode(cls, id: str, fields: dict[str, Any]) -> Transaction:
        if fields.get("format") != FORMAT:
            raise ValueError("a format that this version does not read")
        transaction = cls(id, Identity(*fields["producer"]), fields["timeout"], fields["begun"])
        transaction.previous = Identity(*fields["previous"])
        transaction.state = State(fields["state"])
        for topic, numbers in fields["partitions"].items():
            transaction.partitions.update(dict.fromkeys((topic, number) for number in numbers))
        transaction.groups = dict.fromkeys(fields["groups"])
        transaction.changed_ms = fields["changed"]
        return transaction
