"""Faults to order: an API that answers an error, late, or not at all, so many times. For tests of programs.

Nothing is ordered unless a test does it. Knows no socket and no bytes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gstream.kafka.codes import Code

__all__ = ["Fault", "Faults"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to happen to one request.

    error: it is not executed, and everything it asks for is answered with this code. delay_seconds: so long passes
    before that, or before it is executed. drops: the connection is closed; the request is not executed.
    """

    error: Code | None = None
    delay_seconds: float = 0.0
    drops: bool = False


class Faults:
    """What is to happen to the next requests, by the key of their API; first ordered, first met."""

    __slots__ = ("_ordered",)

    def __init__(self) -> None:
        self._ordered: dict[int, deque[Fault]] = {}

    def __bool__(self) -> bool:
        return bool(self._ordered)

    def __len__(self) -> int:
        return sum(len(each) for each in self._ordered.values())

    def order(self, key: int, fault: Fault, times: int = 1) -> None:
        """Have this happen to the next requests of this API, so many of them."""
        self._ordered.setdefault(key, deque()).extend([fault] * times)

    def take(self, key: int) -> Fault | None:
        """What is to happen to a request of this API that has come; None: nothing."""
        ordered = self._ordered.get(key)
        if ordered is None:
            return None
        fault = ordered.popleft()
        if not ordered:
            del self._ordered[key]
        return fault

    def clear(self) -> None:
        """What has not happened yet does not happen."""
        self._ordered.clear()
