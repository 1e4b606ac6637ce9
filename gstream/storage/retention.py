"""What goes from the disk, and when: whole segments, the oldest first.

What all groups have done goes, but for the newest part of it, which is kept for replay. What is larger or older than a
limit that the operator has set goes, too, whether it was taken or not; then that is logged.

A message that somebody has leased for long does not keep its segment: it is kept in ``meta.db``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import gevent

from gstream.errors import DiskError, StorageError

if TYPE_CHECKING:
    from gstream.progress import Progress
    from gstream.storage.disk import Disk
    from gstream.storage.disklog import DiskLog

__all__ = ["Limits", "Reader", "Retention"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often is looked for what can go."""

LOGS_AT_ONCE = 100
"""So many are looked at before others get a turn: half a millisecond."""

PER_LIMIT = 4
"""A limit is kept to a quarter of it: segments are made so large at the most."""

Limits = tuple[int, float]
"""How large each partition's log may be in bytes, and how old its messages in seconds; 0: there is no limit."""


class Reader(Protocol):
    """A group's part in a partition, as far as it matters to what can go."""

    @property
    def offset(self) -> int:
        """Of the next message that it has not taken."""

    @property
    def progress(self) -> Progress | None:
        """What it has done."""

    def move_out(self, end: int) -> None:
        """Keep what it has not done of the messages before this offset outside of the log."""

    def take_back(self, end: int) -> None:
        """What lay from this offset on is lost; other messages will lie there."""

    def lose(self, end: int) -> int:
        """The messages before this offset go: go on behind them; how many it had not taken."""


class Retention:
    """Looks after the logs of an engine, in a greenlet of its own."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._greenlet: gevent.Greenlet[[], None] = gevent.Greenlet(self._run)

    def start(self) -> None:
        """Begin to look."""
        self._greenlet.start()

    def stop(self) -> None:
        """Look no more."""
        self._greenlet.kill()

    def _run(self) -> None:
        while True:
            gevent.sleep(LOOK_SECONDS)
            for number, each in enumerate(list(self._disk.logs)):
                if number % LOGS_AT_ONCE == LOGS_AT_ONCE - 1:
                    gevent.sleep(0)
                try:
                    self.look_at(each)
                except DiskError:
                    pass  # the state's writer tells of it
                except StorageError as error:
                    log.error("cannot remove what is not kept: %s", error)  # noqa: TRY400  # no bug
                except Exception:
                    log.exception("bug: looking for what can go failed", extra={"topic": each.topic})

    def look_at(self, each: DiskLog) -> None:
        """Let go what need not be kept of this log. Blocks this greenlet. Raises StorageError, DiskError."""
        if each.opened is None or each.is_removed:
            return
        disk = self._disk
        limit_bytes, limit_seconds = disk.limits_of(each.topic)
        segments = each.opened.segments()
        if limit_seconds and segments[-1].size:
            oldest_ms = (disk.clock() - limit_seconds) * 1000
            last_ms = disk.pool.apply(each.opened.last_ms, (segments[-1].base_offset,))
            if last_ms is not None and last_ms < oldest_ms:
                disk.pool.apply(each.opened.roll)
                segments = each.opened.segments()
        if len(segments) == 1:
            return
        end = self._end_of_limits(each, limit_bytes, limit_seconds)
        if end:
            self._lose(each, end)
        done = self._end_of_done(each)
        if done > end:
            disk.state.commit().wait()  # that it is done, or kept outside, has to be on disk first
            end = done
        if end:
            disk.pool.apply(each.opened.drop_before, (end,))

    def _end_of_done(self, each: DiskLog) -> int:
        """Before which offset everything can go that all groups have done; 0 if nothing can."""
        readers = each.readers
        if not readers:
            return 0
        floor = min([reader.offset for reader in readers])
        done = [segment for segment in each.files.segments()[:-1] if segment.next_offset <= floor]
        size = sum([segment.size for segment in done])
        end = 0
        for segment in done:
            size -= segment.size
            if size < self._disk.retain_bytes:
                break
            waiting = False
            for reader in readers:
                if reader.progress is not None and reader.progress.low < segment.next_offset:
                    reader.move_out(segment.next_offset)
                    waiting = True
            if waiting:  # until that is written
                break
            end = segment.next_offset
        return end

    def _end_of_limits(self, each: DiskLog, limit_bytes: int, limit_seconds: float) -> int:
        """Before which offset everything has to go; 0 if nothing has."""
        segments = each.files.segments()
        end = 0
        size = sum([segment.size for segment in segments])
        oldest_ms = (self._disk.clock() - limit_seconds) * 1000
        for segment in segments[:-1]:
            size -= segment.size
            is_old = False
            if limit_seconds:
                last_ms = self._disk.pool.apply(each.files.last_ms, (segment.base_offset,))
                is_old = last_ms is not None and last_ms < oldest_ms
            if not is_old and not (limit_bytes and size >= limit_bytes):
                break
            end = segment.next_offset
        return end

    def _lose(self, each: DiskLog, end: int) -> None:
        lost = 0
        for reader in each.readers:
            lost = max(lost, reader.lose(end))
        each.forget_before(end)
        if lost:
            facts = {"topic": each.topic, "partition": each.partition, "messages": lost, "before": end}
            log.warning("messages that were not taken are gone, by the limits that were set", extra=facts)
            self._disk.lost_count += lost
        elif not each.readers:
            facts = {"topic": each.topic, "partition": each.partition, "before": end}
            log.info("messages that nobody has asked for are gone, by the limits that were set", extra=facts)
