"""The coordinator of transactions: which producer has which transactional id, and what takes part in its transaction.

A producer says beforehand where it is going to write, and whose offsets it is going to commit. What it says is kept
before it is answered, so that a restart knows what is open.

Knows no socket and no wire format. What is said to block waits until something is kept; everything else is atomic.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from gstream.broker import Broker
from gstream.errors import DiskError
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.endings import Endings, PendingOffsets
from gstream.kafka.producer_ids import ProducerIds
from gstream.kafka.transaction import NO_ID, NOBODY, Identity, Partition, Transaction
from gstream.kafka.transaction_store import TransactionStore, wait_for
from gstream.storage.facts import Facts

__all__ = ["MAX_TIMEOUT_MS", "Transactions", "code_in"]

log = logging.getLogger(__name__)

MAX_TIMEOUT_MS: Final = 15 * 60 * 1000
"""Kafka's transaction.max.timeout.ms."""

MAX_IDS: Final = 100_000
MAX_ID_CHARACTERS: Final = 1000
MAX_GROUPS: Final = 1000
"""In a transaction. Nobody has more, and clients can name as many as they like."""

FORGOTTEN_SECONDS: Final = 7 * 24 * 3600.0
"""Kafka's transactional.id.expiration.ms: an id is forgotten that was not used for so long."""
LOOKED_SECONDS: Final = 3600.0
FORGOTTEN_AT_ONCE: Final = 1000


class Transactions:
    """All transactional ids of a server.

    groups: have the offsets that transactions commit. facts: where is kept what is open.
    clock: seconds since 1970.
    """

    def __init__(
        self,
        broker: Broker,
        groups: PendingOffsets,
        facts: Facts,
        producer_ids: ProducerIds,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._agenda = broker.agenda
        self._producer_ids = producer_ids
        self._clock = clock
        self._facts = facts
        self._store = TransactionStore(facts)
        self._endings = Endings(broker, groups, self._store, self._now_ms)
        self._endings.abort_unknown(self._store)
        for transaction in self._store:
            if transaction.is_ongoing:
                left_ms = transaction.begun_ms + transaction.timeout_ms - self._now_ms()
                self._watch(transaction, min(max(0, left_ms), transaction.timeout_ms))
            elif transaction.is_ending:
                self._endings.go_on(transaction)
        self._agenda.at(self._agenda.clock() + LOOKED_SECONDS, self._forget_old)

    def __len__(self) -> int:
        return len(self._store)

    @property
    def open_count(self) -> int:
        """How many transactions have begun and are not complete."""
        return sum(transaction.is_open for transaction in self._store)

    # --- producers

    def start(self, id: str, timeout_ms: int, expected: Identity = NOBODY) -> Identity:
        """A producer starts, with this transactional id; whoever had it before is refused from now on.

        A transaction that was left open is aborted first. Blocks this greenlet.

        expected: who the producer was; it goes on as another only if nobody has come meanwhile.

        Raises KafkaError.
        """
        if not 0 < len(id) <= MAX_ID_CHARACTERS:
            raise KafkaError(Code.INVALID_REQUEST, f"a transactional id has 1 to {MAX_ID_CHARACTERS} characters")
        if not 0 < timeout_ms <= MAX_TIMEOUT_MS:
            raise KafkaError(Code.INVALID_TRANSACTION_TIMEOUT, f"it can be 1 to {MAX_TIMEOUT_MS} ms")
        transaction = self._store.get(id)
        if transaction is None:
            self._check_room()
        else:
            transaction.check_restart(expected)
            expected = self._end_open(transaction, expected)
        new_id = self._take_id() if transaction is None or transaction.is_exhausted else NO_ID
        if self._store.get(id) is not transaction:  # another one was faster
            raise KafkaError(Code.CONCURRENT_TRANSACTIONS)
        if transaction is None:
            transaction = Transaction(id, Identity(new_id, 0), timeout_ms, self._now_ms())
            transaction.previous = expected
        else:
            transaction.check_restart(expected)
            if transaction.is_open:
                raise KafkaError(Code.CONCURRENT_TRANSACTIONS)
            transaction.restart(expected, new_id, timeout_ms, self._now_ms())
        identity = transaction.identity
        self._store.keep(transaction)
        self._store.settle(transaction)
        return identity

    def _end_open(self, transaction: Transaction, expected: Identity) -> Identity:
        """Wait until nothing is open; gives who the producer is expected to be then. Raises KafkaError."""
        ended = transaction.ended
        if transaction.is_ongoing:
            transaction.fence()
            if expected != NOBODY:
                expected = transaction.identity
            ended = self._endings.end(transaction, commits=False)
        if ended is not None:
            try:
                ended.wait()
            except DiskError as error:
                raise KafkaError(Code.CONCURRENT_TRANSACTIONS, str(error)) from error
            if transaction.is_ending:
                raise KafkaError(Code.CONCURRENT_TRANSACTIONS)
        return expected

    def _take_id(self) -> int:
        try:
            return self._producer_ids.take()
        except DiskError as error:
            raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE, str(error)) from error

    # --- a transaction

    def add_partitions(self, id: str, identity: Identity, partitions: Iterable[Partition]) -> None:
        """The producer is going to write there. Blocks this greenlet. Raises KafkaError."""
        transaction = self._find(id, identity)
        new = [each for each in partitions if each not in transaction.partitions]
        if new or not transaction.is_ongoing:
            self._begin(transaction)
            transaction.partitions.update(dict.fromkeys(new))
            self._store.keep(transaction)
        self._store.settle(transaction)

    def add_group(self, id: str, identity: Identity, group: str) -> None:
        """Offsets of this group are going to take part. Blocks this greenlet. Raises KafkaError."""
        if len(group) > MAX_ID_CHARACTERS:
            raise KafkaError(Code.INVALID_GROUP_ID)
        transaction = self._find(id, identity)
        if group not in transaction.groups or not transaction.is_ongoing:
            if len(transaction.groups) >= MAX_GROUPS:
                raise KafkaError(Code.INVALID_REQUEST, f"{MAX_GROUPS} groups at most can take part")
            self._begin(transaction)
            transaction.groups[group] = None
            self._store.keep(transaction)
        self._store.settle(transaction)

    def end(self, id: str, identity: Identity, *, commits: bool) -> None:
        """Commit it, or abort it. Blocks this greenlet until that is sure, and all were told who could be told.

        Raises KafkaError.
        """
        transaction = self._find(id, identity)
        if not transaction.check_end(commits=commits):
            return
        wait_for(self._endings.end(transaction, commits=commits))

    def check_group(self, id: str, identity: Identity, group: str) -> None:
        """Whether offsets of this group may be added, which is to be done before anything else runs.

        Raises KafkaError.
        """
        transaction = self._find(id, identity)
        if not transaction.is_ongoing or group not in transaction.groups:
            raise KafkaError(Code.INVALID_TXN_STATE)

    def check_produce(
        self, producer_id: int, producer_epoch: int, transactional_id: str | None, topic: str, partition: int
    ) -> None:
        """Whether a transactional batch may be appended there, which is to be done before anything else runs.

        A batch that comes late would belong to no transaction, or to the next one: see KIP-890. Raises KafkaError.
        """
        transaction = self._store.get(transactional_id or "")
        if transaction is None or transaction.identity.id != producer_id:
            raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING)
        if transaction.identity.epoch != producer_epoch:
            raise KafkaError(Code.INVALID_PRODUCER_EPOCH)
        if not transaction.is_ongoing or (topic, partition) not in transaction.partitions:
            raise KafkaError(Code.INVALID_TXN_STATE, "the partition is not in the producer's transaction")

    def _find(self, id: str, identity: Identity) -> Transaction:
        if not id:
            raise KafkaError(Code.INVALID_REQUEST, "a transactional id is not empty")
        transaction = self._store.get(id)
        if transaction is None:
            raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING)
        transaction.check(identity)
        return transaction

    def _begin(self, transaction: Transaction) -> None:
        had_begun = transaction.is_ongoing
        transaction.begin(self._now_ms())
        if not had_begun:
            self._watch(transaction, transaction.timeout_ms)

    # --- what its time is over of

    def _watch(self, transaction: Transaction, ms: float) -> None:
        when = self._agenda.clock() + ms / 1000
        transaction.timeout = self._agenda.at(when, partial(self._give_up, transaction))

    def _give_up(self, transaction: Transaction) -> None:
        seconds = transaction.timeout_ms / 1000
        log.warning("transactional id %r: aborted, for it was not ended within %g s", transaction.id, seconds)
        transaction.fence()
        self._endings.end(transaction, commits=False)

    def _check_room(self) -> None:
        """Whether there may be a further id. Raises KafkaError."""
        if (len(self._store) >= MAX_IDS or self._facts.is_full) and not self._forget():
            raise KafkaError(Code.POLICY_VIOLATION, f"there is no room for more than {len(self)} transactional ids")

    def _forget_old(self) -> None:
        seconds = 0.0 if self._forget() == FORGOTTEN_AT_ONCE else LOOKED_SECONDS
        self._agenda.at(self._agenda.clock() + seconds, self._forget_old)

    def _forget(self) -> int:
        """Forget ids that were not used for long; how many."""
        return self._store.forget_before(self._now_ms() - FORGOTTEN_SECONDS * 1000, FORGOTTEN_AT_ONCE)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def code_in(version: int, fenced_from: int, error: KafkaError) -> Code:
    """The code for a reply of this version. fenced_from: the first one whose clients know PRODUCER_FENCED."""
    if error.code is Code.PRODUCER_FENCED and version < fenced_from:
        return Code.INVALID_PRODUCER_EPOCH
    return error.code
