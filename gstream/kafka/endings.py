"""How transactions end: the decision is kept first, and then everybody who takes part is told.

Each partition gets a marker that says how it ended, and groups take the offsets that wait, or forget them; then the
transaction is complete. What is decided is done, however often that has to be tried: a restart goes on with it. A
partition may then get a marker twice, which says nothing new.

Knows no socket and no request. Nothing here blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import islice
from typing import Final, Protocol

from gstream.broker import Broker
from gstream.commit import Commit, after, together
from gstream.errors import GstreamError
from gstream.header import unpack_header
from gstream.kafka.transaction import Identity, Partition, Transaction
from gstream.kafka.transaction_store import TransactionStore
from gstream.records import encode_marker
from gstream.storage.producers import ProducerError

__all__ = ["Endings", "PendingOffsets"]

log = logging.getLogger(__name__)

TOLD_AT_ONCE: Final = 100
"""So many partitions get their markers before others have a turn."""

AGAIN_SECONDS: Final = 1.0
"""After so long is tried again what could not be written."""


class PendingOffsets(Protocol):
    """The groups, as far as their offsets wait for the end of a transaction."""

    def end_pending(self, group: str, producer_id: int, commits: bool) -> Commit | None:
        """Take the offsets that wait, if there are any, or forget them; when that is kept (None: it is)."""

    def drop_pending(self, known: Collection[tuple[str, int]]) -> None:
        """Forget what waits, but for these groups and producers."""


class Endings:
    """Ends transactions.

    broker: has the topics. groups: have the offsets. store: keeps what is decided.
    clock: milliseconds since 1970.
    """

    def __init__(
        self, broker: Broker, groups: PendingOffsets, store: TransactionStore, clock: Callable[[], int]
    ) -> None:
        self._broker = broker
        self._agenda = broker.agenda
        self._groups = groups
        self._store = store
        self._clock = clock
        self._failing: set[str] = set()  # those of whose troubles the log knows

    def end(self, transaction: Transaction, *, commits: bool) -> Commit:
        """End it; when that is done, or at least sure. It fails when it is not even that."""
        if transaction.timeout is not None:
            transaction.timeout.cancel()
            transaction.timeout = None
        transaction.prepare(self._clock(), commits=commits)
        ended = transaction.ended = Commit()
        self._store.keep(transaction)
        self._go_on_when_kept(transaction)
        return ended

    def go_on(self, transaction: Transaction) -> None:
        """End one whose end was decided before a restart."""
        transaction.ended = Commit()
        self._agenda.at(self._agenda.clock(), partial(self._tell, transaction))

    def _go_on_when_kept(self, transaction: Transaction) -> None:
        after(transaction.commit, partial(self._decided, transaction, transaction.commit))

    def _decided(self, transaction: Transaction, commit: Commit | None) -> None:
        if commit is not None and commit.error is not None:
            self._failed(transaction, commit.error, commit.error, self._keep_again)
        else:
            transaction.commit = None
            self._tell(transaction)

    def _keep_again(self, transaction: Transaction) -> None:
        self._store.keep_noted(transaction)
        self._go_on_when_kept(transaction)

    def abort_unknown(self, known: Iterable[Transaction]) -> None:
        """End what is not of these, be it open in logs or waiting: nobody else would, for what was kept is lost."""
        open_ones = [each for each in known if each.is_open]
        self._groups.drop_pending({(group, each.identity.id) for each in open_ones for group in each.groups})
        theirs = {(each.identity.id, place) for each in open_ones for place in each.partitions}
        unknown = [
            (Identity(*producer), (topic.name, number))
            for topic in self._broker.topics.values()
            for number, each in enumerate(topic.partitions)
            for producer in each.producers.open_producers().items()
            if (producer[0], (topic.name, number)) not in theirs
        ]
        if unknown:
            log.warning("%d transactions that nothing is kept of are aborted", len(unknown))
            self._agenda.at(self._agenda.clock(), partial(self._abort, unknown))

    def _abort(self, unknown: list[tuple[Identity, Partition]]) -> None:
        left = []
        for identity, place in unknown:
            try:
                self._write_marker(identity, place, commits=False)
            except GstreamError as error:
                log.error("a transaction in %s:%d cannot be aborted yet: %s", *place, error)  # noqa: TRY400  # no bug
                left.append((identity, place))
        if left:
            self._agenda.at(self._agenda.clock() + AGAIN_SECONDS, partial(self._abort, left))

    # --- telling everybody

    def _tell(self, transaction: Transaction) -> None:
        """Tell some of those who take part how it ends, and then the others."""
        commits: dict[Partition | str, Commit | None] = {}
        for each in islice(transaction.participants(), TOLD_AT_ONCE):
            try:
                if isinstance(each, str):
                    commits[each] = self._groups.end_pending(each, transaction.identity.id, transaction.commits)
                else:
                    commits[each] = self._write_marker(transaction.identity, each, commits=transaction.commits)
            except GstreamError as error:
                refused = commits[each] = Commit()
                refused.error, refused.is_done = error, True
        after(together(commits.values()), partial(self._told, transaction, commits))

    def _write_marker(self, identity: Identity, place: Partition, *, commits: bool) -> Commit | None:
        name, partition = place
        topic = self._broker.topics.get(name)
        if topic is None or partition >= len(topic.partitions):
            return None  # it was removed meanwhile
        marker = encode_marker(*identity, commits=commits, time_ms=self._clock())
        header = unpack_header(marker)
        assert header is not None
        try:
            return topic.append_records(partition, marker, header).commit
        except ProducerError as error:  # its log knows a later producer than is kept
            opened = topic.partitions[partition].producers.open_producers().get(identity.id)
            if opened is not None:  # what was kept of its transaction is lost
                return self._write_marker(Identity(identity.id, opened), place, commits=False)
            log.warning("no end of a transaction in %s:%d: %s", name, partition, error)
            return None

    def _told(self, transaction: Transaction, commits: dict[Partition | str, Commit | None]) -> None:
        error: Exception | None = None
        for each, commit in commits.items():
            failure = None if commit is None else commit.error
            transaction.tell(each, again=failure is not None)
            error = error or failure
        if error is not None:
            # Whoever waits need not do that any more: it is sure how it ends.
            self._failed(transaction, error, None, self._tell)
        elif transaction.partitions or transaction.groups:
            self._agenda.at(self._agenda.clock(), partial(self._tell, transaction))
        else:
            self._complete(transaction)

    def _failed(
        self,
        transaction: Transaction,
        error: Exception,
        answer: Exception | None,
        again: Callable[[Transaction], None],
    ) -> None:
        """It could not be done yet. answer: for those who have waited for that until now."""
        if transaction.id not in self._failing:
            self._failing.add(transaction.id)
            log.error("transactional id %r: its transaction cannot be ended yet: %s", transaction.id, error)
        ended, transaction.ended = transaction.ended, Commit()
        if ended is not None:
            ended.finish(answer)
        self._agenda.at(self._agenda.clock() + AGAIN_SECONDS, partial(again, transaction))

    def _complete(self, transaction: Transaction) -> None:
        if transaction.id in self._failing:
            self._failing.remove(transaction.id)
            log.warning("transactional id %r: its transaction is ended", transaction.id)
        transaction.complete(self._clock())
        self._store.note(transaction)  # nobody waits for that: if it is lost, everybody is told again
        ended, transaction.ended = transaction.ended, None
        if ended is not None:
            ended.finish()
