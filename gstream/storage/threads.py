"""The threads in which an engine touches files.

What finds no thread waits in a queue, and not its caller: the hub itself gives out what is to be written, and must
never wait. For the same reason these are no one else's threads. Knows no file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from gevent.event import Event
from gevent.threadpool import ThreadPool

__all__ = ["Threads", "Work"]

COUNT: Final = 16
"""Most of them wait for the disk, each for another log's."""

_Result = TypeVar("_Result")


class Work:
    """Something that a thread does."""

    __slots__ = ("_error", "_is_done", "_link", "_value")

    def __init__(self) -> None:
        self._is_done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._link: Callable[[Work], object] = _do_nothing

    def rawlink(self, link: Callable[[Work], object]) -> None:
        """Have ``link(self)`` called in the hub when it is done, which it must not be yet."""
        assert not self._is_done
        self._link = link

    def get(self) -> Any:
        """What came of it, when it is done. Raises what that raised."""
        if self._error is not None:
            raise self._error
        return self._value

    def wait(self) -> Any:
        """The same as soon as it is done. Blocks this greenlet."""
        if not self._is_done:
            done = Event()
            self._link = lambda _work: done.set()
            done.wait()
        return self.get()

    def finish(self, value: Any, error: BaseException | None) -> None:
        """It is done. From the hub."""
        self._value, self._error, self._is_done = value, error, True
        self._link(self)


def _do_nothing(_work: Work) -> None:
    pass


class Threads:
    """So many threads at the most, for whoever is in this thread's hub."""

    def __init__(self, count: int = COUNT) -> None:
        self._pool = ThreadPool(count)
        self._free = count
        self._waiting: deque[tuple[Work, Callable[..., Any], tuple[Any, ...]]] = deque()

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> Work:
        """Have this done, in the order of the calls as far as they begin. Does not block."""
        work = Work()
        if self._free:
            self._start(work, function, arguments)
        else:
            self._waiting.append((work, function, arguments))
        return work

    def _start(self, work: Work, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._free -= 1
        self._pool.spawn(_run, function, arguments).rawlink(partial(self._done, work))

    def _done(self, work: Work, result: Any) -> None:
        self._free += 1
        if self._waiting:
            self._start(*self._waiting.popleft())
        work.finish(*result.get())

    def apply(self, function: Callable[..., _Result], arguments: Iterable[Any] = ()) -> _Result:
        """Have this done, and return what came of it, or raise it. Blocks this greenlet."""
        result: _Result = self.spawn(function, *arguments).wait()
        return result

    def map(self, function: Callable[[Any], _Result], items: Iterable[Any]) -> list[_Result]:
        """The same for each of these, at the same time."""
        return [each.wait() for each in [self.spawn(function, item) for item in items]]

    def close(self) -> None:
        """End all threads. Blocks this greenlet until they have done what they do."""
        self._pool.kill()


def _run(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """In the thread. An error is carried to whoever asked: the pool would print it."""
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001  # whatever it is
        return None, error
