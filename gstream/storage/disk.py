"""The disk engine: logs in files, and what their groups have done in ``meta.db``.

It owns the directory, the threads, the memory in which the newest messages stay, and what is read ahead.
``ok`` means that a message is on disk (``--sync always``), or that the system has it and will write it.

Starting blocks; afterwards files are only touched in the engine's own threads.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import gevent
from gevent import get_hub

from gstream.agenda import Agenda
from gstream.commit import Commit
from gstream.config import show_sync
from gstream.errors import DiskError, StorageError
from gstream.progress import Progress
from gstream.storage.budget import Budget
from gstream.storage.converted import Converted
from gstream.storage.directory import Directory
from gstream.storage.disklog import DiskLog
from gstream.storage.facts import Facts
from gstream.storage.failure import failure
from gstream.storage.files import Files
from gstream.storage.finding import Finding, Kind
from gstream.storage.log import Log
from gstream.storage.meta import META, Meta
from gstream.storage.reading import Reading
from gstream.storage.restored import Restored, SavedTopic
from gstream.storage.retention import PER_LIMIT, Retention
from gstream.storage.state import State
from gstream.storage.terms import Limits, Terms
from gstream.storage.threads import Threads
from gstream.topic_options import TopicOptions

__all__ = ["Disk", "DiskSettings"]

log = logging.getLogger(__name__)

CACHE_SHARE = 8
MOST_CACHE_BYTES = 64 << 20
"""An eighth of --max-memory, but no more than this, holds the newest messages; as much what is read for those who lie
behind. The system keeps files in memory, too, so more would gain little."""

FILES_IN_USE = 256

SMALLEST_SEGMENT_BYTES = 64 * 1024


@dataclass(frozen=True)
class DiskSettings:
    """How the engine keeps messages.

    sync_seconds: 0: each message is on disk before it is answered; inf: when the system likes.
    retain_bytes: how much of what all groups have done each log keeps.
    limit_bytes, limit_seconds: what each log may keep, taken or not; 0: no limit.
    segment_bytes, segment_seconds: see LogSettings.
    """

    sync_seconds: float = 0.0
    retain_bytes: int = 0
    limit_bytes: int = 0
    limit_seconds: float = 0.0
    segment_bytes: int = 64 << 20
    segment_seconds: float = 604_800.0


class Disk(Budget):
    """All logs of a server, in one directory.

    max_bytes: how much of messages may be in memory.
    clock: seconds since 1970. files: the file system.

    Raises StorageError.
    """

    name = "disk"
    keeps = True
    pool: Threads

    def __init__(
        self,
        path: str,
        max_bytes: int,
        agenda: Agenda,
        settings: DiskSettings | None = None,
        clock: Callable[[], float] = time.time,
        files: Files | None = None,
    ) -> None:
        super().__init__(max_bytes)
        self.settings = settings or DiskSettings()
        self.path = path
        self.clock = clock
        self.syncs_always = self.settings.sync_seconds == 0
        self.pool = Threads()
        self.waiting_bytes = 0
        """Of messages that are being stored."""
        self.cached_bytes = 0
        """Of the newest messages of all logs, in memory."""
        self._cache_bytes = min(max_bytes // CACHE_SHARE, MOST_CACHE_BYTES)
        self._agenda = agenda
        self.reading = Reading(self.pool, agenda, self._cache_bytes)
        self.converted = Converted()
        self.lost_count = 0
        """How many messages went by a limit before they were taken."""
        self.torn_bytes = 0
        """Cut off when the logs were opened."""
        self.logs: dict[DiskLog, None] = {}
        self._cached: OrderedDict[DiskLog, None] = OrderedDict()
        self._due: list[DiskLog] = []
        self._removals: dict[str, Commit] = {}
        self._unsynced: dict[DiskLog, None] = {}
        self._retention = Retention(self)
        self._syncer: gevent.Greenlet[[], None] = gevent.Greenlet(self._keep_syncing)
        self._opened: dict[tuple[str, int], Log] = {}
        self.directory = Directory(path, self._report, files=files)
        meta: Meta | None = None
        try:
            # Also where logs are synced later: messages whose segments went are nowhere else.
            meta = Meta(f"{path}/{META}", sync=not math.isinf(self.settings.sync_seconds), report=self._report)
            self.state = State(meta, self.pool)
            self._restored = Restored(meta.load())
            self.facts = Facts(self.state, self._restored.facts)
            limits = (self.settings.limit_bytes, self.settings.limit_seconds)
            self.terms = Terms(self.facts, limits, self._restored.limits())
            self._partition_counts = {name: row.partitions for name, row in self._restored.topics.items()}
            self._open_logs()
        except BaseException:
            if meta is not None:
                meta.close()
            self.directory.close()
            self.pool.close()
            raise

    @property
    def promise(self) -> str:
        """What it means that a message is stored."""
        seconds = self.settings.sync_seconds
        if seconds == 0:
            return f"messages are on disk, in {self.path}, before they are answered"
        when = "when the system likes" if math.isinf(seconds) else f"every {seconds:g} s"
        return f"messages are written to {self.path}, and synced {when}: a loss of power may cost the last ones"

    def _open_logs(self) -> None:
        began = time.monotonic()
        places = [(name, number) for name, numbers in self.directory.topics().items() for number in numbers]
        for place, work in zip(places, self.pool.map(self._open_log, places), strict=True):
            self._opened[place] = work.get()
            name, number = place
            self._partition_counts[name] = max(self._partition_counts.get(name, 0), number + 1)
        if places:
            size = sum([each.size for each in self._opened.values()])
            seconds = round(time.monotonic() - began, 3)
            facts = {"logs": len(places), "bytes": size, "torn_bytes": self.torn_bytes, "seconds": seconds}
            log.info("opened", extra=facts)

    def _open_log(self, place: tuple[str, int]) -> Log:
        """In a thread."""
        return self.directory.open_log(*place)

    def _report(self, finding: Finding) -> None:
        """From any thread."""
        if finding.kind is Kind.TORN:
            self.torn_bytes += finding.size
        log.log(logging.INFO if finding.kind is Kind.INDEX else logging.WARNING, "%s", finding)

    def start(self) -> None:
        """From here on, write and look after what is there."""
        self.state.start()
        self._retention.start()
        self._syncer.start()

    # --- what topics ask for

    @property
    def file_count(self) -> int:
        """How many files it has open, and will perhaps have soon: one for each log, and for what is read."""
        return len(self.logs) + FILES_IN_USE

    @property
    def topic_names(self) -> list[str]:
        """The topics that were there when it was opened."""
        return sorted(self._partition_counts)

    def partition_count(self, topic: str) -> int:
        """How many partitions a topic had when the engine was opened; 0 if it was not there."""
        return self._partition_counts.get(topic, 0)

    def open_log(self, topic: str = "", partition: int = 0) -> DiskLog:
        """The log of a partition. Its files are made when something is written."""
        each = DiskLog(self, topic, partition, self._opened.pop((topic, partition), None))
        each.not_before = self._removals.get(topic)
        self.logs[each] = None
        self.set_up(each)
        return each

    def progress(self, each: DiskLog, group: str) -> Progress:
        """What a group has done there: nothing, if it is new."""
        key = (each.topic, group, each.partition)
        progress = Progress(key, self.state.note)
        saved = self._restored.take_share(key)
        if saved is None:
            progress.lose(each.oldest_offset)
        else:
            progress.restore(*saved, each.oldest_offset, each.end_offset)
        return progress

    def take_saved(self, topic: str) -> SavedTopic:
        """What else was kept of a topic; once."""
        return self._restored.take_topic(topic)

    def set_limits(self, topic: str, limit_bytes: int | None, limit_seconds: float | None) -> None:
        """What this topic may keep; None: what the server's settings say."""
        self.terms.set_limits(topic, limit_bytes, limit_seconds)
        for each in self.logs:
            if each.topic == topic:
                self.set_up(each)

    def set_options(self, topic: str, options: TopicOptions, logs: Iterable[DiskLog]) -> None:
        """What else is set for this topic, whose logs these are."""
        self.terms.set_options(topic, options)
        for each in logs:
            self.set_up(each)

    def limits_of(self, topic: str) -> Limits:
        """What the log of a partition of this topic may keep."""
        return self.terms.limits(topic)

    def set_up(self, each: DiskLog) -> None:
        """Let a log have segments as its topic wants them, and so small that its limits can be kept."""
        if each.opened is not None:
            size = self.terms.options(each.topic).segment_bytes or self.settings.segment_bytes
            seconds = self.settings.segment_seconds
            limit_bytes, limit_seconds = self.limits_of(each.topic)
            if limit_bytes >= PER_LIMIT:
                size = min(size, max(limit_bytes // PER_LIMIT, SMALLEST_SEGMENT_BYTES))
            if limit_seconds:
                seconds = min(seconds, limit_seconds / PER_LIMIT)
            segment_ms = max(1, int(seconds * 1000))
            each.opened.settings = replace(each.opened.settings, segment_bytes=size, segment_ms=segment_ms)

    def remove_topic(self, topic: str, logs: Iterable[DiskLog]) -> Commit:
        """Remove all that is kept of a topic; when its files are gone."""
        self.terms.forget(topic)
        self.state.changes.remove_topic(topic)
        self.state.note()
        before = self._removals.get(topic)
        gone = self._removals[topic] = Commit()
        removed = list(logs)
        for each in removed:
            each.is_removed = True
            self.logs.pop(each, None)
        gevent.spawn(self._remove, topic, removed, before, gone)
        return gone

    def _remove(self, topic: str, logs: list[DiskLog], before: Commit | None, gone: Commit) -> None:
        error = None
        try:
            if before is not None:  # an older topic of this name is still being removed, or could not be
                with suppress(DiskError):
                    before.wait()
            for each in logs:
                each.wait_until_idle()
                each.forget()
                if each.opened is not None:
                    with suppress(StorageError):  # of what could not be synced nothing is to be left anyway
                        self.pool.apply(each.opened.close)
            self.pool.apply(self.directory.remove_topic, topic)
        except Exception as raised:  # noqa: BLE001  # whatever it is, whoever waits is told
            error = failure(raised, "removing a topic", topic=topic)
        if error is not None:  # which stays: nothing new can be written where old files are
            log.error("cannot remove a topic's files: %s", error, extra={"topic": topic})
        elif self._removals.get(topic) is gone:
            del self._removals[topic]
        gone.finish(error)

    # --- what logs ask for

    def write_soon(self, each: DiskLog) -> None:
        """Have it write what waits at the end of this turn."""
        if not self._due:
            get_hub().loop.run_callback(self._write_due)
        self._due.append(each)

    def _write_due(self) -> None:
        due, self._due = self._due, []
        for each in due:
            each.write()

    def written(self, each: DiskLog) -> None:
        """It has written something, which is not synced yet."""
        self._unsynced[each] = None

    def cached(self, each: DiskLog) -> None:
        """It has more in memory: drop the oldest of what is in memory, if that is too much."""
        self._cached[each] = None
        self._cached.move_to_end(each)
        while self.cached_bytes > self._cache_bytes:
            oldest = next(iter(self._cached))
            if oldest.drop_oldest():
                del self._cached[oldest]

    def uncached(self, each: DiskLog) -> None:
        """It has nothing in memory any more."""
        self._cached.pop(each, None)

    def make_room(self, size: int) -> None:
        """Messages in logs do not count: there is nothing to give up."""

    def again_later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action()`` in the hub after so long."""
        self._agenda.at(self._agenda.clock() + seconds, action)

    def _keep_syncing(self) -> None:
        seconds = self.settings.sync_seconds
        if seconds == 0 or math.isinf(seconds):
            return
        while True:
            gevent.sleep(seconds)
            unsynced, self._unsynced = self._unsynced, {}
            for each, work in zip(unsynced, self.pool.map(Log.sync, [each.files for each in unsynced]), strict=True):
                if work.error is not None:
                    each.fail(failure(work.error, "syncing", topic=each.topic))

    def rows(self) -> Iterator[tuple[str, object]]:
        """What there is to tell of it: names and values."""
        yield "sync", show_sync(self.settings.sync_seconds)
        yield "memory.used", self.cached_bytes + self.reading.used_bytes
        yield "memory.held", self.held_bytes + self.waiting_bytes
        yield "disk.bytes", sum([each.kept_bytes for each in self.logs])
        yield "disk.state", self.state.meta.size
        yield "disk.torn", self.torn_bytes
        yield "disk.lost", self.lost_count
        yield "disk.failing", sum([each.is_failing for each in self.logs]) + self.state.is_failing

    # --- the end

    def flush(self) -> None:
        """Return when everything that was appended is stored, or has failed. Blocks this greenlet."""
        for gone in list(self._removals.values()):
            with suppress(DiskError):
                gone.wait()
        for each in list(self.logs):
            each.wait_until_idle()

    def close(self) -> None:
        """Store what has changed, and let others have the directory. Blocks this greenlet."""
        self._retention.stop()
        self._syncer.kill()
        self.flush()
        self.state.close()
        opened = [each for each in self.logs if each.opened is not None]
        for each, work in zip(opened, self.pool.map(Log.close, [each.files for each in opened]), strict=True):
            if work.error is not None:
                error = failure(work.error, "closing a log", topic=each.topic)
                log.error("cannot close a log: %s", error, extra={"topic": each.topic})
        self.pool.apply(self.directory.close)
        self.pool.close()
