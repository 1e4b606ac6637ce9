"""What goes from the disk, and when: whole segments, the oldest first.

What all groups have done goes, but for the newest part of it, which is kept for replay; of a topic that is a log it
stays. What is larger or older than a limit that the operator has set goes, too, whether it was taken or not; then that
is logged.

A message that somebody has leased for long does not keep its segment: it is kept in ``meta.db``.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Protocol

import gevent

from gstream.errors import DiskError
from gstream.storage.failure import failure

if TYPE_CHECKING:
    from gstream.progress import Progress
    from gstream.storage.disk import Disk
    from gstream.storage.disklog import DiskLog

__all__ = ["Reader", "Retention"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often is looked for what can go."""

LOGS_AT_ONCE = 100
"""So many are looked at before others get a turn: half a millisecond."""

READERS_AT_ONCE = 100
"""So many groups of a log are asked before others get a turn."""

PER_LIMIT = 4
"""A limit is kept to a quarter of it: segments are made so large at the most."""


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
                except Exception as error:  # noqa: BLE001  # whatever it is, the others go on
                    self._tell(each, error)

    def _tell(self, each: DiskLog, error: Exception) -> None:
        """Once, until something could be let go again: it is tried twice a second."""
        if not each.aged.is_stuck:
            each.aged.is_stuck = True
            why = failure(error, "looking for what can go", topic=each.topic)
            log.error("cannot remove what is not kept: %s", why, extra={"topic": each.topic})

    def look_at(self, each: DiskLog) -> None:
        """Let go what need not be kept of this log. Blocks this greenlet. Raises StorageError, DiskError."""
        if each.opened is None or each.is_removed:
            return
        disk, aged = self._disk, each.aged
        limit_bytes, limit_seconds = disk.limits_of(each.topic)
        oldest_ms = (disk.clock() - limit_seconds) * 1000 if limit_seconds else -math.inf
        if aged.rested_at == each.end_offset and aged.newest_ms >= oldest_ms:
            return
        end_offset = each.end_offset
        segments = each.opened.segments()
        if segments[-1].size and aged.newest_ms < oldest_ms and self._is_due(each, segments[-1].base_offset, oldest_ms):
            disk.pool.apply(each.opened.roll)
            segments = each.opened.segments()
        aged.rested_at = end_offset if len(segments) == 1 else -1
        if len(segments) == 1:
            return
        end = self._end_of_limits(each, limit_bytes, oldest_ms)
        if end:
            self._lose(each, end)
        done = self._end_of_done(each)
        if done > end:
            if _keeps_some_of(each, done):
                disk.state.commit().wait()  # what is kept outside has to be on disk first
            end = done  # what is done need not: whoever restarts goes on at the oldest message that is there
        if end:
            disk.pool.apply(each.opened.drop_before, end)
            each.producers.drop_before(each.oldest_offset)
            aged.is_stuck = False

    def _is_due(self, each: DiskLog, base_offset: int, oldest_ms: float) -> bool:
        """Whether the last segment's messages are all older than that; its file is asked at most once for each time."""
        last_ms = self._disk.pool.apply(each.files.last_ms, base_offset)
        each.aged.newest_ms = self._disk.clock() * 1000 if last_ms is None else last_ms
        return each.aged.newest_ms < oldest_ms

    def _end_of_done(self, each: DiskLog) -> int:
        """Before which offset everything can go that all groups have done; 0 if nothing can."""
        if not each.readers or self._disk.terms.options(each.topic).is_log:
            return 0
        floor = low = each.end_offset
        lows: list[tuple[int, Reader]] = []
        for number, reader in enumerate(list(each.readers), 1):
            if number % READERS_AT_ONCE == 0:
                gevent.sleep(0)
            floor = min(floor, reader.offset)
            if reader.progress is not None:
                low = min(low, reader.progress.low)
                lows.append((reader.progress.low, reader))
        done = [segment for segment in each.files.segments()[:-1] if segment.next_offset <= floor]
        size = sum([segment.size for segment in done])
        end = 0
        for segment in done:
            size -= segment.size
            if size < self._disk.settings.retain_bytes:
                break
            if low < segment.next_offset:  # this one goes when that is written
                for began, reader in lows:
                    if began < segment.next_offset:
                        reader.move_out(segment.next_offset)
                        gevent.sleep(0)
                break
            end = segment.next_offset
        return end

    def _end_of_limits(self, each: DiskLog, limit_bytes: int, oldest_ms: float) -> int:
        """Before which offset everything has to go; 0 if nothing has."""
        segments = each.files.segments()
        end = 0
        size = sum([segment.size for segment in segments])
        for segment in segments[:-1]:
            size -= segment.size
            is_old = oldest_ms > 0 and self._is_old(each, segment.base_offset, oldest_ms)
            if not is_old and not (limit_bytes and size >= limit_bytes):
                break
            end = segment.next_offset
        return end

    def _is_old(self, each: DiskLog, base_offset: int, oldest_ms: float) -> bool:
        """Whether a sealed segment's messages are all older than that; of the one asked last it is known when."""
        aged = each.aged
        if aged.sealed[0] != base_offset:
            aged.sealed = base_offset, self._disk.pool.apply(each.files.last_ms, base_offset)
        last_ms = aged.sealed[1]
        return last_ms is not None and last_ms < oldest_ms

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


def _keeps_some_of(each: DiskLog, end: int) -> bool:
    """Whether a group keeps, outside of the log, a message that is to go from it now, before this offset."""
    start = each.oldest_offset
    for reader in each.readers:
        kept = reader.progress.kept if reader.progress is not None else None
        if kept and any(start <= offset < end for offset in kept):
            return True
    return False
