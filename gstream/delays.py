"""The messages of a topic that are published later, in the order of their times.

On an engine that keeps that, they lie in ``meta.db`` until they are stored in their log. Knows no topic and no group.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count as counting
from math import inf
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
"""After so long a message is tried again that could not be stored, and those of its partition behind it."""


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
        self._times: dict[int, list[tuple[float, int]]] = {}  # of each partition: a heap
        self._failing: dict[int, float] = {}  # partitions that could not be stored in, and when one message is tried
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
        self._times.clear()
        self._failing.clear()

    def _note(self, number: int, delayed: Delayed, when: float) -> None:
        self._budget.held_bytes += len(delayed.data) + DELAYED_BYTES
        self._messages[number] = delayed
        heapq.heappush(self._times.setdefault(delayed.partition, []), (when, number))
        self._expect_next(delayed.partition)

    def _forget(self, number: int) -> None:
        delayed = self._messages.pop(number)
        self._budget.held_bytes -= len(delayed.data) + DELAYED_BYTES
        if self._state is not None:
            self._state.changes.remove_delayed(self._topic, number)
            self._state.note()

    def _publish_due(self) -> None:
        now = self._alarm.ring()
        room = DUE_AT_ONCE
        for partition, times in self._times.items():
            most = room
            if partition in self._failing:
                most = 1 if self._failing[partition] <= now else 0
            while most > 0 and room > 0 and times and times[0][0] <= now:
                room -= 1
                when, number = heapq.heappop(times)
                delayed = self._messages.get(number)
                if delayed is not None:
                    most -= 1
                    self._publish_one(partition, when, number, delayed)
            self._expect_next(partition)

    def _publish_one(self, partition: int, when: float, number: int, delayed: Delayed) -> None:
        if partition in self._failing:
            self._failing[partition] = inf  # until it is known what becomes of this one
        commit = self._publish(delayed)
        if commit is None:
            self._forget(number)
        else:
            commit.then(partial(self._published, partition, when, number, commit))

    def _published(self, partition: int, when: float, number: int, commit: Commit) -> None:
        if partition not in self._times:  # the topic was removed
            return
        is_known = number in self._messages
        if commit.error is not None:  # those behind it wait: they would be tried in vain
            self._failing[partition] = self._agenda.clock() + AGAIN_SECONDS
            if is_known:
                heapq.heappush(self._times[partition], (when, number))
        else:
            self._failing.pop(partition, None)
            if is_known:
                self._forget(number)
        self._expect_next(partition)

    def _expect_next(self, partition: int) -> None:
        times = self._times[partition]
        when = self._failing.get(partition, -inf)
        if times and when < inf:
            self._alarm.expect_at(max(times[0][0], when))
