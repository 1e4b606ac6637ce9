"""Terms: what is set for topics themselves, as far as it matters to what an engine keeps of their messages.

Knows no log, and nothing of how it is kept to.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from gstream.storage.facts import Facts
from gstream.topic_options import TopicOptions

__all__ = ["Limits", "Terms"]

Limits: TypeAlias = tuple[int, float]
"""How large each partition's log may be in bytes, and how old its messages in seconds; 0: there is no limit."""

_TOPIC: Final = "topic/"
_OPTIONS: Final = "/options"
"""Around a topic's name: the fact that has its options."""
_NONE: Final = TopicOptions()


class Terms:
    """By topic, what it may keep, and how.

    facts: what is kept of topics. server: what a topic may keep that has no limits of its own.
    own: the limits that topics have of their own: bytes, seconds; None: the server's.
    """

    def __init__(
        self, facts: Facts, server: Limits = (0, 0.0), own: dict[str, tuple[int | None, float | None]] | None = None
    ) -> None:
        self._facts = facts
        self._server = server
        self._own = own or {}
        self._options: dict[str, TopicOptions] = {}
        for name in facts.under(_TOPIC):
            if name.endswith(_OPTIONS):
                topic = name.removeprefix(_TOPIC).removesuffix(_OPTIONS)
                self._options[topic] = TopicOptions.decode(facts.get(name))

    def own_limits(self, topic: str) -> tuple[int | None, float | None]:
        """What this topic may keep, in bytes and seconds; None: what the server's settings say."""
        return self._own.get(topic, (None, None))

    def set_limits(self, topic: str, limit_bytes: int | None, limit_seconds: float | None) -> None:
        """What this topic may keep; None: what the server's settings say."""
        self._own[topic] = (limit_bytes, limit_seconds)

    def limits(self, topic: str) -> Limits:
        """What the log of a partition of this topic may keep."""
        size, seconds = self.own_limits(topic)
        return self._server[0] if size is None else size, self._server[1] if seconds is None else seconds

    def options(self, topic: str) -> TopicOptions:
        """What else is set for this topic."""
        return self._options.get(topic, _NONE)

    def set_options(self, topic: str, options: TopicOptions) -> None:
        """Have these, which are kept."""
        self._options[topic] = options
        self._facts.put(f"{_TOPIC}{topic}{_OPTIONS}", options.encode())

    def forget(self, topic: str) -> None:
        """The topic is removed, and all facts with it that are its own."""
        self._own.pop(topic, None)
        self._options.pop(topic, None)
        self._facts.remove_under(f"{_TOPIC}{topic}/")
        self._facts.remove_under(f"floor/{topic}/")
