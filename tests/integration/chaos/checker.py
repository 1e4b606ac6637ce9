"""What must hold of a history: nothing lost, nothing invented, order kept, and few messages twice.

A server that is killed may have forgotten what consumers told it last: what was acknowledged in the last 100 ms, or is
among the last 1,000 acknowledgements, may come again. One that was asked to end forgets nothing.

Knows no socket and no process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from tests.integration.chaos.history import (
    ACKNOWLEDGE,
    BURY,
    RETURN,
    Answered,
    Delivered,
    Ended,
    Found,
    History,
    Left,
    Place,
    Sent,
    Settling,
    Stored,
)

__all__ = ["Kind", "Report", "Violation", "check"]

UNWRITTEN_SECONDS = 0.1
UNWRITTEN_CHANGES = 1000
"""What a killed server may have forgotten: the changes of so long, and so many more."""

CLOCK_SECONDS = 0.25
"""A lease may end so much too early: the loop's clock stands still during a turn."""

Message: TypeAlias = tuple[str, bytes]
"""Topic and body: each message that a producer makes is another."""


class Kind:
    """What may be wrong."""

    LOST = "lost"
    INVENTED = "invented"
    MULTIPLIED = "multiplied"
    MOVED = "moved"
    SCATTERED = "scattered"
    REORDERED = "reordered"
    BACKWARDS = "backwards"
    DOUBLED = "doubled"
    SHARED = "shared"
    LEFT = "left"


@dataclass(frozen=True)
class Violation:
    """One promise that was not kept. kind: one of Kind."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass
class Report:
    """What a history was found to be: nothing is wrong if there is no violation."""

    violations: list[Violation] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def add(self, kind: str, text: str) -> None:
        """One more violation."""
        self.violations.append(Violation(kind, text))

    @property
    def kinds(self) -> set[str]:
        """Of the violations."""
        return {each.kind for each in self.violations}

    def __str__(self) -> str:
        lines = [f"{kind}: {count} times" for kind, count in sorted(Counter(v.kind for v in self.violations).items())]
        shown = [str(each) for each in self.violations[:20]]
        figures = ", ".join(f"{name} {value:g}" for name, value in self.figures.items())
        return "\n".join([*lines, *shown, figures])


def check(history: History) -> Report:
    """Everything that must hold."""
    return _Checker(history).run()


class _Checker:
    """A history, looked up by message and by place."""

    def __init__(self, history: History) -> None:
        self.report = Report()
        self.lease_seconds = history.lease_seconds
        self.sent: dict[Message, list[Sent]] = defaultdict(list)
        for sent in history.of(Sent):
            self.sent[sent.topic, sent.body].append(sent)
        self.stored = list(history.of(Stored))
        self.deliveries: dict[Place, list[Delivered]] = defaultdict(list)
        self.firsts: list[Delivered] = []
        """Of each place the first one, in the order in which they came."""
        for delivered in history.of(Delivered):
            if delivered.place not in self.deliveries:
                self.firsts.append(delivered)
            self.deliveries[delivered.place].append(delivered)
        self.settling: dict[Place, list[Settling]] = defaultdict(list)
        for settling in history.of(Settling):
            self.settling[settling.place].append(settling)
        self.answered: dict[Place, list[Answered]] = defaultdict(list)
        for answered in history.of(Answered):
            self.answered[answered.place].append(answered)
        self.ends = {ended.life: ended for ended in history.of(Ended)}
        self.found = [each for each in history.of(Found) if not each.dead]
        self.dead = Counter((each.topic, each.body) for each in history.of(Found) if each.dead)
        self.left = list(history.of(Left))
        self.places: dict[Message, set[Place]] = defaultdict(set)
        """Where each message was seen."""
        self.bodies: dict[Place, set[bytes]] = defaultdict(set)
        for place, deliveries in self.deliveries.items():
            for each in deliveries:
                self._saw(place, each.body)
        for found in self.found:
            self._saw(found.place, found.body)

    def _saw(self, place: Place, body: bytes) -> None:
        self.places[place.topic, body].add(place)
        self.bodies[place].add(body)

    def run(self) -> Report:
        self._nothing_is_lost()
        self._nothing_is_invented()
        self._a_message_has_one_place()
        self._order_is_kept()
        self._deliveries_are_in_order()
        self._attempts_are_counted()
        self._what_is_done_stays_done()
        self._a_message_has_one_consumer()
        for left in self.left:
            if left.count:
                self.report.add(Kind.LEFT, f"{left.count} messages of {left.topic} cannot be drained")
        self._count()
        return self.report

    # --- messages

    def _nothing_is_lost(self) -> None:
        left = {each.topic for each in self.left if each.count}
        in_log = {(each.topic, each.body) for each in self.found}
        logs_read = {each.topic for each in self.left if each.is_log_read}
        for stored in self.stored:
            message = stored.topic, stored.body
            if message not in self.places and not self.dead[message] and stored.topic not in left:
                self.report.add(Kind.LOST, f"{stored.body[:40]!r} was stored in {stored.topic}, and never came")
            if stored.topic in logs_read and message not in in_log:
                self.report.add(Kind.LOST, f"{stored.body[:40]!r} was stored in {stored.topic}, and is not in its log")
        for place, deliveries in self.deliveries.items():
            body = deliveries[-1].body
            if not self._may_be_done(place) and not self.dead[place.topic, body] and place.topic not in left:
                self.report.add(Kind.LOST, f"{body[:40]!r} at {place} came, was never done, and did not come again")

    def _may_be_done(self, place: Place) -> bool:
        """Whether it was acknowledged, or the server ended before it had answered that."""
        refused = sum(each.verb == ACKNOWLEDGE and not each.done for each in self.answered.get(place, ()))
        return sum(each.verb == ACKNOWLEDGE for each in self.settling.get(place, ())) > refused

    def _nothing_is_invented(self) -> None:
        for (topic, body), places in self.places.items():
            if (topic, body) not in self.sent:
                self.report.add(Kind.INVENTED, f"{body[:40]!r} at {min(places)} was never sent")
        for topic, body in self.dead:
            if (topic, body) not in self.sent:
                self.report.add(Kind.INVENTED, f"{body[:40]!r} among the dead letters of {topic} was never sent")

    def _a_message_has_one_place(self) -> None:
        """Or as many as it was sent; and a place has one message."""
        for message, places in self.places.items():
            if message in self.sent and len(places) > len(self.sent[message]):
                self.report.add(
                    Kind.MULTIPLIED,
                    f"{message[1][:40]!r} was sent {len(self.sent[message])} times, and is at {_list(places)}",
                )
        for place, bodies in self.bodies.items():
            if len(bodies) > 1:
                self.report.add(Kind.MOVED, f"{place} was {' and '.join(sorted(repr(each[:40]) for each in bodies))}")
        for stored in self.stored:
            places_seen = self.places.get((stored.topic, stored.body), ())
            if stored.place is not None and places_seen and stored.place not in places_seen:
                self.report.add(
                    Kind.MOVED, f"{stored.body[:40]!r} was said to be at {stored.place}, and is at {_list(places_seen)}"
                )
        buried = Counter(
            (place.topic, body)
            for place, settling in self.settling.items()
            for body in self.bodies.get(place, ())
            for each in settling
            if each.verb == BURY
        )
        for message, count in self.dead.items():
            if count > buried[message]:
                self.report.add(
                    Kind.MULTIPLIED,
                    f"{message[1][:40]!r} of {message[0]} is dead {count} times, was buried {buried[message]} times",
                )

    # --- order

    def _once(self) -> Iterable[tuple[Sent, Place]]:
        """The messages that were sent once, as they were sent, each with its place."""
        for message, sent in self.sent.items():
            places = self.places.get(message, ())
            if len(sent) == 1 and len(places) == 1:
                yield sent[0], next(iter(places))

    def _order_is_kept(self) -> None:
        """What a producer sent lies in that order in each partition, and what has the same key in one partition."""
        latest: dict[tuple[str, int, int], Place] = {}
        partition_of: dict[tuple[str, bytes], int] = {}
        for sent, place in sorted(self._once(), key=lambda each: (each[0].producer, each[0].number)):
            line = sent.topic, sent.producer, place.partition
            before = latest.get(line)
            if before is not None and place.offset < before.offset:
                self.report.add(Kind.REORDERED, f"{sent.body[:40]!r} is at {place}, before an earlier one at {before}")
            latest[line] = place
            if sent.key is not None:
                partition = partition_of.setdefault((sent.topic, sent.key), place.partition)
                if partition != place.partition:
                    self.report.add(Kind.SCATTERED, f"key {sent.key!r} is in partitions {partition} and {place}")

    def _deliveries_are_in_order(self) -> None:
        """A connection gets a producer's messages in their order, but for those that had been delivered before."""
        sent_of = {place: sent for sent, place in self._once()}
        latest: dict[tuple[int, str, int, int], Sent] = {}
        for each in self.firsts:
            sent = sent_of.get(each.place)
            if sent is None or each.attempt > 1:
                continue
            line = each.link, each.place.topic, each.place.partition, sent.producer
            before = latest.get(line)
            if before is not None and sent.number < before.number:
                self.report.add(Kind.REORDERED, f"{each.body[:40]!r} came to {each.link} after {before.body[:40]!r}")
            latest[line] = sent

    # --- deliveries

    def _attempts_are_counted(self) -> None:
        """They rise, unless the server was killed before it had written how far they were."""
        forgotten: Counter[int] = Counter()
        for place, deliveries in self.deliveries.items():
            seen: dict[int, set[int]] = defaultdict(set)
            highest = life_of_highest = 0
            for each in sorted(deliveries, key=lambda each: (each.life, each.attempt)):
                if each.attempt in seen[each.life]:
                    self.report.add(Kind.BACKWARDS, f"{place} came twice as attempt {each.attempt}")
                elif each.life > life_of_highest and each.attempt <= highest:
                    if self._ended_cleanly(life_of_highest):
                        self.report.add(Kind.BACKWARDS, f"{place} came as attempt {each.attempt} after {highest}")
                    elif len(seen[each.life]) == 0:
                        forgotten[life_of_highest] += 1
                seen[each.life].add(each.attempt)
                if each.attempt >= highest:
                    highest, life_of_highest = each.attempt, each.life
        times = sorted((each.life, each.at) for deliveries in self.deliveries.values() for each in deliveries)
        self._judge(Kind.BACKWARDS, "attempts", forgotten, times)

    def _what_is_done_stays_done(self) -> None:
        """It does not come again, unless the server was killed before it had written that it is done."""
        forgotten: Counter[int] = Counter()
        oldest = 0.0
        for place, answers in self.answered.items():
            done = [each for each in answers if each.done and each.verb in {ACKNOWLEDGE, BURY}]
            deliveries = self.deliveries.get(place, ())
            for each in done:
                if any(other.life == each.life and other.attempt > each.attempt for other in deliveries):
                    self.report.add(Kind.DOUBLED, f"{place} came again though it had been acknowledged")
                if all(other.life <= each.life for other in deliveries):
                    continue
                if self._ended_cleanly(each.life):
                    self.report.add(Kind.DOUBLED, f"{place} came again after a clean end, though it was acknowledged")
                else:
                    forgotten[each.life] += 1
                    oldest = max(oldest, self.ends[each.life].at - each.at)
        times = sorted(
            (each.life, each.at)
            for answers in self.answered.values()
            for each in answers
            if each.done and each.verb in {ACKNOWLEDGE, BURY}
        )
        self._judge(Kind.DOUBLED, "acknowledgements", forgotten, times)
        self.report.figures["came again after an acknowledgement"] = forgotten.total()
        self.report.figures["oldest of these (s)"] = round(oldest, 3)

    def _ended_cleanly(self, life: int) -> bool:
        end = self.ends.get(life)
        return end is None or end.clean  # what has not ended has forgotten nothing

    def _judge(self, kind: str, what: str, forgotten: Counter[int], times: list[tuple[int, float]]) -> None:
        """No kill may have cost more than what was not written yet. times: of all changes, with their lives."""
        recent: Counter[int] = Counter()
        for life, at in times:
            end = self.ends.get(life)
            recent[life] += end is not None and at >= end.at - UNWRITTEN_SECONDS
        for life, count in forgotten.items():
            allowed = recent[life] + UNWRITTEN_CHANGES
            if count > allowed:
                self.report.add(kind, f"{count} {what} of life {life} were forgotten; {allowed} may have been")

    def _a_message_has_one_consumer(self) -> None:
        """Nobody gets what is leased to another; a server that ends takes leases back one connection at a time."""
        for place, deliveries in self.deliveries.items():
            for two in pairwise(deliveries):
                first, second = sorted(two, key=lambda each: each.attempt)
                if first.life != second.life or second.at - first.since >= self.lease_seconds - CLOCK_SECONDS:
                    continue
                end = self.ends.get(first.life)
                if end is not None and end.clean and second.at >= end.at:
                    continue
                given_back = any(
                    each.life == first.life and each.link == first.link and each.verb != ACKNOWLEDGE
                    for each in self.settling.get(place, ())
                )
                if not given_back:
                    self.report.add(Kind.SHARED, f"{place} came to {second.link} while it was leased to {first.link}")

    def _count(self) -> None:
        stored = {(each.topic, each.body) for each in self.stored}
        counts = {
            "kills": sum(not each.clean for each in self.ends.values()),
            "clean ends": sum(each.clean for each in self.ends.values()),
            "sent": len(self.sent),
            "stored": len(stored),
            "there without an answer": len(self.places.keys() - stored),
            "deliveries": sum(map(len, self.deliveries.values())),
            "given back": sum(each.verb == RETURN for answers in self.answered.values() for each in answers),
            "dead": self.dead.total(),
        }
        self.report.figures = {**counts, **self.report.figures}


def _list(places: Iterable[Place]) -> str:
    return ", ".join(map(str, sorted(places)))
