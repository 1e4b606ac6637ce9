"""Power is lost: whatever was not synced may be missing, or torn, and everything that was synced is there.

A log works on a disk that is none and notes all that it is asked to do. Then, for every moment, disks are made that
could have been found after it, and a log is opened on each of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from gstream.batch import Batch, Message, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.errors import DiskFullError, SyncFailedError
from gstream.storage.files import Buffer, Files
from gstream.storage.finding import Finding, Kind
from gstream.storage.log import Log, LogSettings

HOME = "/log"
SETTINGS = LogSettings(segment_bytes=600, interval_bytes=150)
SECTOR = 32
"""What such a disk writes as a whole or not at all; small, because the frames are."""


@dataclass
class Inode:
    """A file. data: as the system has it in memory. dirty: what is not on the disk yet, as numbers of calls."""

    number: int
    data: bytearray = field(default_factory=bytearray)
    dirty: list[int] = field(default_factory=list)
    disk: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class Write:
    """Bytes of a file. Where there are none, it is cut at the position."""

    inode: int
    position: int
    data: bytes | None

    def play(self, data: bytearray) -> None:
        if self.data is None:
            del data[self.position :]
            data.extend(bytes(self.position - len(data)))
        else:
            data.extend(bytes(max(0, self.position - len(data))))
            data[self.position : self.position + len(self.data)] = self.data


@dataclass(frozen=True)
class Name:
    """A name comes (to be a file's) or goes (None)."""

    path: str
    inode: int | None


@dataclass(frozen=True)
class Synced:
    """So many calls of this kind of change are on disk: of a file, or (None) of the directory."""

    inode: int | None
    calls: frozenset[int]


Call = Write | Name | Synced


class Disk(Files):
    """A file system in memory, with one directory, that notes what it is asked to do.

    room: how many bytes may still be written. fails: how many syncs will fail.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.names_: dict[str, Inode] = {}
        self.opened: dict[int, Inode] = {}
        self.pending_names: list[int] = []
        self.room = 1 << 30
        self.fails = 0
        self.numbers = 0

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        inode = self.names_.get(path)
        if inode and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if not inode:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            inode = self.add(path)
            self._note_name(Name(path, inode.number))
        fd = max(self.opened, default=2) + 1
        self.opened[fd] = inode
        return fd

    def add(self, path: str, data: bytes = b"") -> Inode:
        self.numbers += 1
        self.names_[path] = inode = Inode(self.numbers, bytearray(data), disk=bytearray(data))
        return inode

    def _note_name(self, call: Name) -> None:
        self.pending_names.append(len(self.calls))
        self.calls.append(call)

    def _note_write(self, inode: Inode, call: Write) -> None:
        call.play(inode.data)
        inode.dirty.append(len(self.calls))
        self.calls.append(call)

    def close(self, fd: int) -> None:
        del self.opened[fd]

    def write(self, fd: int, buffers: Sequence[Buffer], position: int) -> int:
        data = b"".join(buffers)[: self.room]
        if not data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        self._note_write(self.opened[fd], Write(self.opened[fd].number, position, data))
        return len(data)

    def truncate(self, fd: int, size: int) -> None:
        if size != len(self.opened[fd].data):
            self._note_write(self.opened[fd], Write(self.opened[fd].number, size, None))

    def read(self, fd: int, size: int, position: int) -> bytes:
        return bytes(self.opened[fd].data[position : position + size])

    def size(self, fd: int) -> int:
        return len(self.opened[fd].data)

    def sync(self, fd: int) -> None:
        inode = self.opened[fd]
        dirty, inode.dirty = inode.dirty, []
        if self.fails:  # what could not be written is forgotten, and only that it failed is said, once
            self.fails -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        for number in dirty:
            call = self.calls[number]
            assert isinstance(call, Write)
            call.play(inode.disk)
        self.calls.append(Synced(inode.number, frozenset(dirty)))

    def sync_directory(self, path: str) -> None:
        assert path == HOME
        self.calls.append(Synced(None, frozenset(self.pending_names)))
        self.pending_names = []

    def forget(self, fd: int) -> None:
        inode = self.opened[fd]
        assert not inode.dirty
        inode.data = bytearray(inode.disk)

    def sizes(self, path: str) -> dict[str, int]:
        assert path == HOME
        return {os.path.basename(name): len(inode.data) for name, inode in self.names_.items()}

    def remove(self, path: str) -> None:
        if path not in self.names_:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        del self.names_[path]
        self._note_name(Name(path, None))

    # --- what could be found after a loss of power

    def after(self, moment: int) -> Iterator[Disk]:
        """Disks as they could be found, had power been lost behind so many calls."""
        calls = self.calls[:moment]
        synced = {number for call in calls if isinstance(call, Synced) for number in call.calls}
        open_ = [at for at, call in enumerate(calls) if not isinstance(call, Synced) and at not in synced]
        everything = dict.fromkeys(open_, 0)
        nothing: dict[int, int] = {}
        yield _replay(calls, synced, everything)
        yield _replay(calls, synced, nothing)
        for at in open_[-8:]:
            yield _replay(calls, synced, {each: 0 for each in open_ if each != at})
            yield _replay(calls, synced, {at: 0})
            yield _replay(calls, synced, {each: 0 for each in open_ if each < at})
            call = calls[at]
            if isinstance(call, Write) and call.data:
                for how in range(1, 2 * (len(call.data) // SECTOR + 1)):
                    yield _replay(calls, synced, everything | {at: how})


def _replay(calls: Sequence[Call], synced: set[int], happened: dict[int, int]) -> Disk:
    """A disk on which these calls happened besides those that were synced, each in one of several ways."""
    files: dict[int, bytearray] = {}
    names: dict[str, int] = {}
    for at, call in enumerate(calls):
        if at not in synced and at not in happened:
            continue
        if isinstance(call, Write):
            _tear(call, happened.get(at, 0)).play(files.setdefault(call.inode, bytearray()))
        elif isinstance(call, Name) and call.inode is not None:
            names[call.path] = call.inode
        elif isinstance(call, Name):
            names.pop(call.path, None)
    disk = Disk()
    for path, inode in names.items():
        disk.add(path, bytes(files.get(inode, b"")))
    return disk


def _tear(write: Write, how: int) -> Write:
    """0: whole. Odd: only the first sectors. Even: all but one sector, where there are zeros."""
    if not how or write.data is None:
        return write
    at = how // 2 * SECTOR
    if how % 2:
        return Write(write.inode, write.position, write.data[: at + SECTOR // 2])
    data = write.data[: at - SECTOR] + bytes(min(SECTOR, len(write.data) - at + SECTOR)) + write.data[at:]
    return Write(write.inode, write.position, data)


class Story:
    """What is done with a log, and what was promised meanwhile.

    sent: by offset, the bodies that were ever tried there. promised, dropped: moments, and the offset before which all
    is on disk, or may be gone, from then on.
    """

    def __init__(self) -> None:
        self.disk = Disk()
        self.findings: list[Finding] = []
        self.log = self.open()
        self.sent: dict[int, set[bytes]] = {}
        self.promised: list[tuple[int, int]] = []
        self.dropped: list[tuple[int, int]] = []
        self.number = 0

    def open(self) -> Log:
        return Log(HOME, self.findings.append, SETTINGS, self.disk)

    def publish(self, count: int = 1, *, counted: bool = False) -> None:
        """A batch; what is refused is known to have been tried."""
        bodies = [b"message %d" % (self.number + each) for each in range(count)]
        self.number += count
        batch: Batch
        if counted:
            batch = CountedBatch(0, count, b"".join(map(pack_counted, bodies)), self.number)
        else:
            batch = Batch(0, count, pack(*bodies), self.number)
        for offset, body in enumerate(bodies, self.log.end_offset):
            self.sent.setdefault(offset, set()).add(body)
        self.log.append([batch])

    def sync(self) -> None:
        self.log.sync()
        self.note()

    def note(self) -> None:
        """What is promised from here on."""
        self.promised.append((len(self.disk.calls), self.log.synced_offset))

    def drop(self, offset: int) -> None:
        self.dropped.append((len(self.disk.calls), offset))
        self.log.drop_before(offset)

    def check(self) -> int:
        """Lose power at every moment; returns how many disks were looked at."""
        looked_at = 0
        for moment in range(len(self.disk.calls) + 1):
            end = max((offset for at, offset in self.promised if at <= moment), default=0)
            oldest = max((offset for at, offset in self.dropped if at <= moment), default=0)
            for disk in self.disk.after(moment):
                self.check_disk(disk, {*range(oldest, end)})
                looked_at += 1
        return looked_at

    def check_disk(self, disk: Disk, promised: set[int]) -> None:
        findings: list[Finding] = []
        log = Log(HOME, findings.append, SETTINGS, disk)
        served = serve(log)
        offsets = [message.offset for message in served]
        assert offsets == sorted(set(offsets))
        assert promised <= set(offsets)
        for message in served:
            assert message.body in self.sent[message.offset], "invented"
        end = log.end_offset
        assert end >= max(promised, default=-1) + 1
        log.append([Batch(0, 1, pack(b"afterwards"))])
        log.sync()
        log.close()
        assert not disk.opened
        again = Log(HOME, findings.append, SETTINGS, disk)
        assert serve(again) == [*served, *again.read(end, 1)[0].messages()]
        assert again.read(end, 1)[0].bodies() == [b"afterwards"]


def serve(log: Log) -> list[Message]:
    served: list[Message] = []
    offset = 0
    while batches := log.read(offset, 300):
        for batch in batches:
            served += batch.messages()
            offset = batch.offset + batch.count
    return served


@pytest.fixture
def story() -> Story:
    return Story()


def test_the_disk_forgets_what_was_not_synced(story: Story) -> None:
    """The test is one: without a sync, there are disks on which nothing is left, all is, and some is torn."""
    story.publish(3)
    left = {len(serve(Log(HOME, story.findings.append, SETTINGS, disk))) for disk in story.disk.after(2)}
    assert left == {0, 3}
    assert Kind.TORN in {found.kind for found in story.findings}


def test_every_publish_is_synced(story: Story) -> None:
    for number in range(20):
        story.publish(1 + number % 4, counted=number % 3 == 0)
        story.sync()
    assert len(story.log.segments()) > 3
    assert story.check() > 500


def test_some_publishes_are_synced(story: Story) -> None:
    for number in range(20):
        story.publish(1 + number % 4, counted=number % 2 == 0)
        if number % 5 == 4:
            story.sync()
        story.note()
    assert story.check() > 500


def test_closing_and_opening(story: Story) -> None:
    for _ in range(4):
        for _ in range(3):
            story.publish(2)
        story.log.close()
        story.note()
        story.log = story.open()
    assert story.check() > 100


def test_a_crash_without_a_loss_of_power(story: Story) -> None:
    """What was not synced is still there for the next process, which promises it by serving it."""
    for _ in range(3):
        for _ in range(3):
            story.publish(2)
        story.log = story.open()
        story.sync()
    assert story.check() > 100


def test_dropping(story: Story) -> None:
    for number in range(24):
        story.publish(2)
        story.sync()
        if number % 6 == 5:
            story.drop(story.log.segments()[-1].base_offset)
    assert story.check() > 500


def test_a_full_disk(story: Story) -> None:
    for number in range(12):
        story.publish(1)
        story.sync()
        if number % 3 == 1:
            story.disk.room = 15 * number
            with pytest.raises(DiskFullError):
                story.publish(10)
            story.disk.room = 1 << 30
    assert story.check() > 100


def test_a_failed_sync(story: Story) -> None:
    """What could not be synced is never written by itself, and is promised only when it was written again."""
    for _ in range(3):
        story.publish(2)
        story.sync()
        story.publish(2)
        story.publish(1, counted=True)
        end = story.log.end_offset
        story.disk.fails = 1
        with pytest.raises(SyncFailedError):
            story.log.sync()
        story.log.reopen()
        story.note()
        assert story.log.synced_offset == story.log.end_offset == end
    assert story.findings == []
    assert story.check() > 100


def test_a_failed_sync_and_another_process(story: Story) -> None:
    """Who opens the log next is not shown what only the system's memory has."""
    for _ in range(3):
        story.publish(2)
        story.sync()
        end = story.log.end_offset
        story.publish(3)
        story.disk.fails = 1
        with pytest.raises(SyncFailedError):
            story.log.sync()
        story.log = story.open()
        assert story.log.end_offset == story.log.synced_offset == end
    assert story.check() > 100
