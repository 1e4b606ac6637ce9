"""The threads in which an engine touches files.

What finds no thread waits in a queue, and not its caller: the hub itself gives out what is to be written, and must
never wait. For the same reason these are no one else's threads. Knows no file.
"""

from __future__ import annotations

import logging
from _queue import SimpleQueue  # that of threads, whatever is monkey-patched
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeVar

from gevent import get_hub
from gevent.event import Event
from gevent.threadpool import ThreadPool

__all__ = ["Threads", "Work"]

log = logging.getLogger(__name__)

COUNT: Final = 16
"""Most of them wait for the disk, each for another log's."""

_Result = TypeVar("_Result")


class Work:
    """Something that a thread does. error: what it raised, once it is done."""

    __slots__ = ("_action", "_is_done", "_value", "error")

    def __init__(self) -> None:
        self._is_done = False
        self._value: Any = None
        self.error: Exception | None = None
        self._action: Callable[[Work], object] = _do_nothing

    def then(self, action: Callable[[Work], object]) -> None:
        """Have ``action(self)`` called in the hub when it is done, which it must not be yet."""
        assert not self._is_done
        self._action = action

    @property
    def is_done(self) -> bool:
        """Whether it is done."""
        return self._is_done

    def get(self) -> Any:
        """What came of it, when it is done. Raises what that raised."""
        if self.error is not None:
            raise self.error
        return self._value

    def wait(self) -> Work:
        """Itself, as soon as it is done. Blocks this greenlet."""
        if not self._is_done:
            done = Event()
            self._action = lambda _work: done.set()
            done.wait()
        return self

    def finish(self, value: Any, error: Exception | None) -> None:
        """It is done. From the hub."""
        self._value, self.error, self._is_done = value, error, True
        self._action(self)


def _do_nothing(_work: Work) -> None:
    pass


_Task: TypeAlias = tuple[Work, Callable[..., Any], tuple[Any, ...]]
_Finished: TypeAlias = tuple[Work, Any, "Exception | None"]


class Threads:
    """So many threads at the most, for whoever is in this thread's hub.

    They are gevent's, which works in monkey-patched programs, too. Each is started when it is needed, and takes one
    thing after the other: gevent's own way, a watcher for everything that is done, crashes on libuv (gevent 26.9).
    """

    def __init__(self, count: int = COUNT) -> None:
        self._count = count
        self._pool: ThreadPool | None = None
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._finished: deque[_Finished] = deque()
        self._started = 0
        self._unfinished = 0
        self._told: Any = None

    def _open(self) -> ThreadPool:
        """Nothing is there before there is something to do: a server in memory may never have that."""
        self._told = get_hub().loop.async_()
        self._told.start(self._finish)
        return ThreadPool(self._count)

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> Work:
        """Have this done, in the order of the calls as far as they begin. Does not block."""
        work = Work()
        if self._pool is None:
            self._pool = self._open()
        self._unfinished += 1
        if self._started < min(self._unfinished, self._count):
            self._started += 1
            self._pool.spawn(_serve, self._tasks, self._finished, self._told.send)
        self._tasks.put((work, function, arguments))
        return work

    def _finish(self) -> None:
        while self._finished:
            work, value, error = self._finished.popleft()
            self._unfinished -= 1
            try:
                work.finish(value, error)
            except Exception:  # others must not wait for ever
                log.exception("bug: something that was to follow what a thread did failed")

    def apply(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Have this done, and return what came of it, or raise it. Blocks this greenlet."""
        result: _Result = self.spawn(function, *arguments).wait().get()
        return result

    def map(self, function: Callable[[Any], object], items: Iterable[Any]) -> list[Work]:
        """Have this done for each of these, at the same time; all of it is done. Blocks this greenlet."""
        return [each.wait() for each in [self.spawn(function, item) for item in items]]

    def close(self) -> None:
        """End all threads. Blocks this greenlet until they have done what they do."""
        if self._pool is None:
            return
        for _ in range(self._started):
            self._tasks.put(None)
        self._pool.join()
        self._finish()
        self._told.stop()
        self._told.close()
        self._pool.kill()


def _serve(tasks: SimpleQueue[_Task | None], finished: deque[_Finished], tell: Callable[[], object]) -> None:
    """In the thread. An error is carried to whoever asked."""
    while (task := tasks.get()) is not None:
        work, function, arguments = task
        try:
            finished.append((work, function(*arguments), None))
        except Exception as error:  # noqa: BLE001  # whatever it is
            finished.append((work, None, error))
        tell()
