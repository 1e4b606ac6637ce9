"""The messages of a topic that are published later, in the order of their times.

On an engine that keeps that, they lie in ``meta.db`` until they are stored in their log. Knows no topic and no group.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count as counting
from typing import TYPE_CHECKING

from gstream.agenda import Agenda
from gstream.alarm import Alarm
from gstream.batch import Batch
from gstream.commit import Commit
from gstream.counted import KINDS
from gstream.storage.budget import Budget
from gstream.storage.changes import DelayedMessage

if TYPE_CHECKING:
    from gstream.storage.state import State

__all__ = ["Delayed", "Delays"]

DELAYED_BYTES = 200
"""What a delayed message costs beyond its own bytes."""

DUE_AT_ONCE = 1000

AGAIN_SECONDS = 1.0
"""After so long a message is tried again that could not be stored."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """A message that is published later. id: under which it was published."""

    data: bytes
    kind: type[Batch]
    partition: int
    id: bytes | None


class Delays:
    """Delayed messages.

    publish: stores one in its log; says when that is done, or None if it is.
    state: where they are kept, if the engine keeps them.
    clock: seconds since 1970.
    """

    def __init__(
        self,
        topic: str,
        budget: Budget,
        agenda: Agenda,
        publish: Callable[[Delayed], Commit | None],
        state: State | None,
        clock: Callable[[], float],
    ) -> None:
        self._topic = topic
        self._budget = budget
        self._agenda = agenda
        self._publish = publish
        self._state = state
        self._clock = clock
        self._alarm = Alarm(agenda, 0.0, self._publish_due)
        self._numbers = counting()
        self._times: list[tuple[float, int]] = []  # a heap
        self._messages: dict[int, Delayed] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._messages)

    @property
    def room_bytes(self) -> int:
        """How large a message may be."""
        return self._budget.room_bytes - DELAYED_BYTES

    def add(self, delayed: Delayed, seconds: float) -> Commit | None:
        """Publish it after so long; when it is kept (None: at once). If it cannot be kept, it is not published."""
        number = next(self._numbers)
        self._note(number, delayed, self._agenda.clock() + seconds)
        if self._state is None:
            return None
        due_ms = int((self._clock() + seconds) * 1000)
        self._state.changes.delayed[self._topic, number] = DelayedMessage(
            delayed.partition, due_ms, delayed.id, delayed.kind.magic, delayed.data
        )
        self._state.note()
        commit = self._state.commit()
        commit.then(partial(self._added, number, commit))
        return commit

    def _added(self, number: int, commit: Commit) -> None:
        if commit.error is not None and number in self._messages:
            self._forget(number)

    def restore(self, messages: Mapping[int, DelayedMessage], partitions: int) -> None:
        """Those that were kept."""
        for number, kept in messages.items():
            delayed = Delayed(kept.data, KINDS[kept.kind], min(kept.partition, partitions - 1), kept.id)
            # If that is over, they still come in order.
            when = self._agenda.clock() + kept.due_ms / 1000 - self._clock()
            self._note(number, delayed, when)
        self._numbers = counting(max(messages, default=-1) + 1)

    def clear(self) -> None:
        """Forget all: the topic is removed."""
        self._alarm.cancel()
        for number in list(self._messages):
            self._forget(number)

    def _note(self, number: int, delayed: Delayed, when: float) -> None:
        self._budget.held_bytes += len(delayed.data) + DELAYED_BYTES
        self._messages[number] = delayed
        heapq.heappush(self._times, (when, number))
        self._alarm.expect_at(self._times[0][0])

    def _forget(self, number: int) -> None:
        delayed = self._messages.pop(number)
        self._budget.held_bytes -= len(delayed.data) + DELAYED_BYTES
        if self._state is not None:
            self._state.changes.delayed[self._topic, number] = None
            self._state.note()

    def _publish_due(self) -> None:
        now = self._alarm.ring()
        for _ in range(DUE_AT_ONCE):
            if not self._times or self._times[0][0] > now:
                break
            number = heapq.heappop(self._times)[1]
            delayed = self._messages.get(number)
            if delayed is None:
                continue
            commit = self._publish(delayed)
            if commit is None:
                self._forget(number)
            else:
                commit.then(partial(self._published, number, commit))
        if self._times:
            self._alarm.expect_at(self._times[0][0])

    def _published(self, number: int, commit: Commit) -> None:
        if number not in self._messages:  # the topic was removed
            return
        if commit.error is None:
            self._forget(number)
        else:
            heapq.heappush(self._times, (self._agenda.clock() + AGAIN_SECONDS, number))
            self._alarm.expect_at(self._times[0][0])
