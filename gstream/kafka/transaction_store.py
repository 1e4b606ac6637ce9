"""The transactions of all transactional ids, and what is kept of them over a restart.

Knows no topic, no group and no clock.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, unquote

from gstream.commit import Commit
from gstream.errors import DiskError
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.transaction import Transaction
from gstream.storage.facts import Facts

__all__ = ["PREFIX", "TransactionStore", "wait_for"]

log = logging.getLogger(__name__)

PREFIX: Final = "transaction/"
"""What the names of their facts begin with; the transactional id follows, quoted as in a URL."""


class TransactionStore:
    """Transactions by transactional id.

    facts: where they are kept.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._transactions: OrderedDict[str, Transaction] = OrderedDict()  # as they changed, the latest last
        self._restore()

    def _restore(self) -> None:
        found = []
        for name, data in self._facts.under(PREFIX).items():
            try:
                found.append(Transaction.decode(unquote(name.removeprefix(PREFIX)), data))
            except ValueError as error:
                log.error("%s cannot be read, and is forgotten: %s", name, error)  # noqa: TRY400  # no bug of ours
                self._facts.put(name, None)
        for transaction in sorted(found, key=lambda each: each.changed_ms):
            self._transactions[transaction.id] = transaction

    def __len__(self) -> int:
        return len(self._transactions)

    def __iter__(self) -> Iterator[Transaction]:
        """All of them, those first that changed longest ago."""
        return iter(self._transactions.values())

    def get(self, id: str) -> Transaction | None:
        """The one of this transactional id, if that is known."""
        return self._transactions.get(id)

    def note(self, transaction: Transaction) -> None:
        """It has changed, or is new, which is kept soon."""
        self._transactions[transaction.id] = transaction
        self._transactions.move_to_end(transaction.id)
        self._facts.put(_fact(transaction.id), transaction.encode())

    def keep(self, transaction: Transaction) -> None:
        """The same; it is kept at once, and its ``commit`` says when."""
        self.note(transaction)
        self.keep_noted(transaction)

    def keep_noted(self, transaction: Transaction) -> None:
        """Keep what is noted of it at once, which could not be kept the last time: it is still to be written."""
        transaction.commit = self._facts.commit()

    def settle(self, transaction: Transaction) -> None:
        """Wait until what was noted of it is kept. Blocks this greenlet. Raises KafkaError."""
        commit = transaction.commit
        if commit is not None and commit.is_done:
            transaction.commit = None
            if commit.error is not None:
                self.keep_noted(transaction)
            commit = transaction.commit
        if commit is not None:
            wait_for(commit)

    def forget_before(self, oldest_ms: float, count: int) -> int:
        """Forget those that have not changed since then and are not open, ``count`` of them at most; how many."""
        old: list[str] = []
        for transaction in self:
            if transaction.changed_ms > oldest_ms or len(old) == count:
                break
            if not transaction.is_open:
                old.append(transaction.id)
        for id in old:
            del self._transactions[id]
            self._facts.put(_fact(id), None)
        return len(old)


def wait_for(commit: Commit) -> None:
    """Return when it is stored. Blocks this greenlet. Raises KafkaError, so that the client tries again."""
    try:
        commit.wait()
    except DiskError as error:
        raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE, str(error)) from error


def _fact(id: str) -> str:
    return PREFIX + quote(id, safe="")
