"""A sample: what a server told of itself at one time; two of them make rates. Knows nothing of how it is shown."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gstream.cli.groups import Figures, groups_of, stats_of

if TYPE_CHECKING:
    from gstream.client import Client

__all__ = ["Sample", "Usage", "take_sample", "usages"]

MAX_TOPICS = 200
"""More are not asked about: each is a question of its own."""


@dataclass(frozen=True)
class Sample:
    """The server's figures and those of its topics; ``left_out`` topics were not asked about."""

    server: Figures
    topics: Mapping[str, Figures]
    left_out: int = 0
    taken: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Usage:
    """A topic, or (if it has a name) one of its groups, between two samples.

    messages: kept in the topic. rate: messages a second that were published, or consumed by the group.
    """

    topic: str
    group: str | None
    messages: float
    rate: float
    backlog: float = 0
    leased: float = 0
    consumers: float = 0


def take_sample(client: Client, topic: str | None) -> Sample:
    """Ask the server, about one topic or about all: those that keep the most messages if there are too many."""
    server = client.stats()
    if topic is not None:
        return Sample(server, {topic: stats_of(client, topic)})
    kept = client.topics()
    names = sorted(sorted(kept, key=kept.__getitem__, reverse=True)[:MAX_TOPICS])
    return Sample(server, {name: stats_of(client, name) for name in names}, len(kept) - len(names))


def usages(before: Sample, now: Sample) -> list[Usage]:
    """Topics by name, each followed by its groups. What is new since the sample before counts from 0."""
    seconds = now.taken - before.taken
    found = []
    for name, figures in now.topics.items():
        if not figures:
            continue
        old = before.topics.get(name, {})
        found.append(Usage(name, None, _of(figures, "messages"), _rate(old, figures, "published", seconds)))
        old_groups = groups_of(old)
        for group, its in groups_of(figures).items():
            rate = _rate(old_groups.get(group, {}), its, "acknowledged", seconds)
            more = (_of(its, each) for each in ("backlog", "leased", "consumers"))
            found.append(Usage(name, group, 0, rate, *more))
    return found


def _of(figures: Figures, name: str) -> float:
    value = figures.get(name, 0)
    return value if isinstance(value, int | float) else 0


def _rate(old: Figures, new: Figures, name: str, seconds: float) -> float:
    """Not below 0: a server that was started anew counts from 0."""
    return max(0.0, _of(new, name) - _of(old, name)) / seconds if seconds > 0 else 0.0
