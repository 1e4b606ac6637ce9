from __future__ import annotations

import errno
import os
import resource
import struct
import threading
import time

import pytest
from crc32c import crc32c

from gstream.batch import Batch, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.errors import DamagedError, DiskFullError, StorageError, SyncFailedError
from gstream.header import unpack_header
from gstream.storage.finding import Kind
from gstream.storage.log import Log, LogSettings
from gstream.storage.recordbatch import RecordBatch
from gstream.storage.segments import INDEXES_IN_MEMORY, SegmentInfo
from tests.unit.disturbed_files import FaultyFiles

SIZE = 70
"""Of a frame of one message, ``message``."""
SMALL = LogSettings(segment_bytes=10 * SIZE, interval_bytes=3 * SIZE)


@pytest.fixture
def files():
    return FaultyFiles()


@pytest.fixture
def findings():
    return []


@pytest.fixture
def open_log(tmp_path, files, findings):
    logs = []

    def open_log(settings=SMALL, **options):
        log = Log(str(tmp_path), findings.append, settings, files, **options)
        logs.append(log)
        return log

    yield open_log
    for log in logs:
        files.failures.clear()
        log.close()


def message(body=b"message", time_ms=1000):
    return Batch(0, 1, pack(body), time_ms)


def fill(log, count, time_ms=1000):
    for number in range(count):
        log.append([message(time_ms=time_ms + number)])


def read_all(log, offset=0, max_bytes=1 << 20):
    """The offsets and bodies from there on."""
    found = []
    while batches := log.read(offset, max_bytes):
        for batch in batches:
            found += [(message.offset, message.body) for message in batch.messages()]
            offset = batch.offset + batch.count
    return found


def expect(first, end, body=b"message"):
    return [(offset, body) for offset in range(first, end)]


def names(path, suffix):
    return sorted(int(name.removesuffix(suffix)) for name in os.listdir(path) if name.endswith(suffix))


def test_a_new_log_is_empty(open_log):
    log = open_log()
    assert (log.oldest_offset, log.end_offset, log.synced_offset, log.size) == (0, 0, 0, 0)
    assert log.read(0, 1000) == []
    assert log.find_time(0) == 0
    assert log.segments() == [SegmentInfo(0, 0, 0)]
    assert log.last_ms(0) is None


def test_batches_get_their_offsets(open_log):
    log = open_log(LogSettings(), partition=3)
    first, second = Batch(99, 2, pack(b"a", b"b"), 5), CountedBatch(99, 1, pack_counted(b"c\nd", b"key"), 5)
    assert log.append([first, second]) == 0
    assert (first.offset, second.offset, log.end_offset) == (0, 2, 3)
    assert log.append([]) == log.append([message(b"e")]) == 3
    assert read_all(log) == [(0, b"a"), (1, b"b"), (2, b"c\nd"), (3, b"e")]
    assert {batch.partition for batch in log.read(0, 1 << 20)} == {3}
    assert [batch.bodies() for batch in log.read(1, 1 << 20)] == [[b"b"], [b"c\nd"], [b"e"]]


def test_times_do_not_go_back(open_log):
    log = open_log()
    log.append([message(time_ms=1000)])
    late = message(time_ms=900)
    log.append([late, message(time_ms=1100)])
    assert late.times == 1000
    assert [batch.times for batch in log.read(0, 1 << 20)] == [1000, 1000, 1100]
    log.roll()
    log.close()
    again = open_log()
    again.append([message(time_ms=50)])
    assert again.read(3, 1)[0].times == 1100, "an empty last segment does not make it forget"


def test_kafkas_records_are_kept_as_they_are(open_log):
    checked = struct.pack(">hiqqqhii", 0x10, 4, 2000, 2500, 9, 1, 40, 5) + b"records"
    stored = struct.pack(">qiibI", 77, 9 + len(checked), 3, 2, crc32c(checked)) + checked
    log = open_log()
    log.append([message()])
    assert log.append([RecordBatch(stored, unpack_header(stored)), message()]) == 1
    assert log.end_offset == 7
    (frame,) = log.read_frames(4, 1)
    assert frame.stored == struct.pack(">qii", 1, len(stored) - 12, 0) + stored[16:]
    assert log.read(6, 1)[0].times == 1000, "what clients say of their records is not the log's time"
    assert log.find_time(2500) == 1


def test_it_rolls_by_size(open_log, tmp_path, files):
    log = open_log()
    fill(log, 25)
    assert log.segments() == [SegmentInfo(0, 10, 700), SegmentInfo(10, 20, 700), SegmentInfo(20, 25, 350)]
    assert names(tmp_path, ".log") == [0, 10, 20]
    assert names(tmp_path, ".index") == [0, 10], "the last one's is in memory"
    assert log.size == 25 * SIZE
    assert read_all(log) == expect(0, 25)
    assert read_all(log, 13) == expect(13, 25)
    assert read_all(log, 13, 1) == expect(13, 25)


def test_a_batch_larger_than_a_segment_has_one_of_its_own(open_log, tmp_path):
    log = open_log()
    large = b"x" * 1000
    for body in (b"a", large, b"b"):
        log.append([message(body)])
    assert names(tmp_path, ".log") == [0, 1, 2]
    assert read_all(log) == [(0, b"a"), (1, large), (2, b"b")]


def test_it_rolls_by_age(open_log, tmp_path):
    log = open_log(LogSettings(segment_ms=1000))
    for time_ms in (0, 999, 1000, 1500, 1999, 2000):
        log.append([message(time_ms=time_ms)])
    assert names(tmp_path, ".log") == [0, 2, 5]


def test_it_rolls_when_told_to_but_not_an_empty_segment(open_log, tmp_path):
    log = open_log()
    log.roll()
    fill(log, 2)
    log.roll()
    log.roll()
    assert names(tmp_path, ".log") == [0, 2]
    assert log.last_ms(0) == 1001
    assert log.last_ms(2) is None
    with pytest.raises(ValueError, match="no segment"):
        log.last_ms(1)


def test_what_is_sealed_is_on_disk(open_log, files):
    log = open_log()
    fill(log, 10)
    assert log.synced_offset == 0
    files.calls.clear()
    fill(log, 1)
    assert files.calls[:3] == ["sync", "sync directory", "create"]
    assert log.synced_offset == 10


def test_segments_have_less_than_four_gib():
    with pytest.raises(ValueError, match="4 GiB"):
        LogSettings(segment_bytes=1 << 32)
    with pytest.raises(ValueError, match="4 GiB"):
        LogSettings(segment_bytes=0)


def test_times_are_found(open_log, findings):
    log = open_log()
    fill(log, 25, time_ms=1000)
    for again in (log, open_log()):
        assert [again.find_time(each) for each in (0, 1000, 1001, 1009, 1010, 1024)] == [0, 0, 1, 9, 10, 24]
        assert again.find_time(1025) == 25
    assert findings == []


def test_the_oldest_segments_are_dropped(open_log, tmp_path):
    log = open_log()
    fill(log, 35)
    assert log.drop_before(9) == 0
    assert log.drop_before(20) == 2 * 10 * SIZE
    assert log.oldest_offset == 20
    assert names(tmp_path, ".log") == [20, 30]
    assert names(tmp_path, ".index") == [20]
    assert read_all(log) == expect(20, 35)
    assert log.find_time(0) == 20
    assert log.drop_before(1000) == 10 * SIZE
    assert names(tmp_path, ".log") == [30], "never the last"
    assert open_log().oldest_offset == 30


def test_all_can_be_dropped_and_offsets_go_on(open_log):
    log = open_log()
    fill(log, 5)
    log.roll()
    assert log.drop_before(5) == 5 * SIZE
    log.close()
    log = open_log()
    assert (log.oldest_offset, log.end_offset) == (5, 5)
    assert log.append([message()]) == 5


def test_closing_touches_no_file_when_nothing_was_written(open_log, files, tmp_path):
    log = open_log()
    fill(log, 5)
    log.close()
    assert names(tmp_path, ".index") == [0]
    log = open_log()
    del files.calls[:]
    log.close()
    assert files.calls == []
    log = open_log()
    fill(log, 1, time_ms=2000)
    del files.calls[:]
    log.close()
    assert "sync" in files.calls
    assert open_log().end_offset == 6


def test_a_reader_goes_on_behind_what_is_dropped_meanwhile(open_log, findings, files):
    log = open_log()
    fill(log, 25)
    opens, reads = files.open, files.read

    def drop_before_opening(path, flags=os.O_RDONLY):
        files.open = opens
        log.drop_before(10)
        return opens(path, flags)

    def drop_before_reading(fd, size, position):
        files.read = reads
        log.drop_before(20)
        return reads(fd, size, position)

    files.open = drop_before_opening
    assert log.read(0, 1)[0].offset == 10
    files.read = drop_before_reading
    assert log.read(10, 1)[0].offset == 10, "it has the file"
    assert log.read(10, 1)[0].offset == 20
    assert findings == []


def test_a_segment_that_somebody_took_is_missed(open_log, tmp_path, findings):
    log = open_log()
    fill(log, 25)
    os.unlink(tmp_path / f"{10:020d}.log")
    assert read_all(log) == expect(0, 10) + expect(20, 25)
    assert [(found.kind, found.offset, found.next_offset) for found in findings] == [(Kind.DAMAGED, 10, 20)]


def test_few_indexes_are_in_memory(open_log, files):
    log = open_log()
    fill(log, 200)
    assert read_all(log) == expect(0, 200)
    log.find_time(1199)
    in_memory = [segment for segment in log._segments if segment.index is not None]
    assert len(in_memory) == INDEXES_IN_MEMORY + 1


# --- opening


def test_opening_gives_all_back(open_log, findings):
    log = open_log()
    fill(log, 25)
    log.close()
    log = open_log()
    assert (log.oldest_offset, log.end_offset, log.synced_offset) == (0, 25, 25)
    assert read_all(log) == expect(0, 25)
    fill(log, 10)
    assert read_all(log) == expect(0, 35)
    assert findings == []


def test_a_torn_tail_is_cut(open_log, tmp_path, findings):
    log = open_log()
    fill(log, 25)
    with open(tmp_path / f"{20:020d}.log", "r+b") as file:
        file.truncate(5 * SIZE - 1)
    log = open_log()
    assert log.end_offset == 24
    assert [(found.kind, found.size) for found in findings] == [(Kind.TORN, SIZE - 1)]
    log.append([message(b"another")])
    assert read_all(log) == [*expect(0, 24), (24, b"another")]


def test_a_damaged_frame_is_reported_once_and_never_served(open_log, tmp_path, findings):
    log = open_log()
    fill(log, 25)
    log.close()
    with open(tmp_path / f"{10:020d}.log", "r+b") as file:
        file.seek(5 * SIZE - 2)
        file.write(b"X")
    log = open_log()
    for _ in range(3):
        assert read_all(log) == expect(0, 14) + expect(15, 25)
    assert [(found.kind, found.offset, found.next_offset) for found in findings] == [(Kind.DAMAGED, 14, 15)]


def test_an_index_without_a_segment_is_removed(open_log, tmp_path):
    (tmp_path / f"{7:020d}.index").write_bytes(b"left")
    (tmp_path / "notes.txt").write_bytes(b"mine")
    open_log()
    assert names(tmp_path, ".index") == []
    assert (tmp_path / "notes.txt").exists()


def test_a_missing_directory_is_said(tmp_path, findings):
    with pytest.raises(StorageError, match="No such file or directory"):
        Log(str(tmp_path / "none"), findings.append)


def test_ten_gib_are_opened_in_less_than_a_second(tmp_path, findings):
    """Sealed segments are not read: they may be of any size, and hold anything."""
    log = Log(str(tmp_path), findings.append)
    log.append([message()])
    log.close()
    for number in range(160):
        path = tmp_path / f"{1 + number * 1000:020d}.log"
        path.touch()
        if number < 159:
            os.truncate(path, 64 << 20)
    begin = time.perf_counter()
    log = Log(str(tmp_path), findings.append)
    assert time.perf_counter() - begin < 1
    assert log.size > 9.9 * (1 << 30)
    assert log.read(0, 1)[0].bodies() == [b"message"]
    log.append([message(b"new")])
    assert log.read(log.end_offset - 1, 1)[0].bodies() == [b"new"]
    assert [found.kind for found in findings] == [Kind.DAMAGED, Kind.INDEX], "one was looked at, for its time"
    log.close()


# --- what goes wrong


def test_a_full_disk_stores_nothing_and_is_usable_as_soon_as_there_is_room(open_log, files, tmp_path):
    log = open_log()
    fill(log, 3)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        files.takes = [100]
        files.failures["write"] = [code]
        with pytest.raises(DiskFullError, match=os.strerror(code)):
            log.append([message(), message()])
    assert not log.is_failed
    assert log.end_offset == 3
    assert os.path.getsize(tmp_path / f"{0:020d}.log") == 3 * SIZE
    fill(log, 1)
    assert log.sync() == 4
    assert read_all(log) == expect(0, 4)


def test_no_room_for_another_segment(open_log, files, tmp_path):
    log = open_log()
    fill(log, 10)
    files.failures["create"] = [errno.ENOSPC] * 2
    for _ in range(2):
        with pytest.raises(DiskFullError):
            log.append([message()])
    assert names(tmp_path, ".log") == [0]
    fill(log, 1)
    assert names(tmp_path, ".log") == [0, 10]
    assert read_all(open_log()) == expect(0, 11)


def test_no_room_under_a_real_limit(open_log):
    log = open_log(LogSettings())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # Python ignores its signal
    try:
        fill(log, 10)
        with pytest.raises(DiskFullError):
            log.append([message(b"x" * 200), message(b"x" * 200)])
        assert os.path.getsize(log._segments[0].path) == 10 * SIZE
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    fill(log, 5)
    log.sync()
    assert read_all(open_log()) == expect(0, 15)


def test_after_a_failed_sync_nothing_is_taken_until_it_was_reopened(open_log, files, findings):
    log = open_log()
    fill(log, 2)
    log.sync()
    fill(log, 2)
    files.failures["sync"] = [errno.EIO]
    with pytest.raises(SyncFailedError, match="Input/output error"):
        log.sync()
    assert log.is_failed
    assert log.synced_offset == 2
    for refused in (lambda: log.append([message()]), log.sync, log.roll):
        with pytest.raises(SyncFailedError, match="not known to be on disk"):
            refused()
    assert read_all(log) == expect(0, 4), "reading goes on"
    files.failures["sync"] = [errno.EIO]
    with pytest.raises(StorageError):
        log.reopen()
    assert log.is_failed
    files.calls.clear()
    log.reopen()
    assert files.calls[:3] == ["truncate", "write", "sync"], "written once more"
    assert files.calls.index("sync") < files.calls.index("forget"), "read back from the disk"
    assert not log.is_failed
    assert log.synced_offset == 4
    fill(log, 1)
    assert log.sync() == 5
    assert read_all(log) == expect(0, 5)
    assert findings == []


def test_what_a_failed_sync_has_lost_is_said(open_log, files, findings, tmp_path):
    log = open_log()
    fill(log, 2)
    log.sync()
    fill(log, 2)
    files.failures["sync"] = [errno.EIO]
    with pytest.raises(SyncFailedError):
        log.sync()
    with open(tmp_path / f"{0:020d}.log", "r+b") as file:  # the system has dropped the page
        file.seek(3 * SIZE)
        file.write(bytes(SIZE))
    log.reopen()
    assert [(found.kind, found.offset) for found in findings] == [(Kind.TORN, 3), (Kind.DAMAGED, 3)]
    assert "messages 3 to 3: lost by the system" in str(findings[1])
    assert log.end_offset == log.synced_offset == 3


def test_a_directory_that_cannot_be_synced(open_log, files):
    log = open_log()
    fill(log, 1)
    files.failures["sync directory"] = [errno.EIO]
    with pytest.raises(SyncFailedError):
        log.sync()
    log.reopen()
    assert log.sync() == 1


def test_half_a_write_that_cannot_be_cut_off(open_log, files, findings):
    log = open_log()
    fill(log, 1)
    files.takes = [2 * SIZE + 5]
    files.failures = {"write": [errno.EIO], "truncate": [errno.EIO]}
    with pytest.raises(DamagedError):
        log.append([message(), message(), message()])
    with pytest.raises(SyncFailedError, match="cannot be cut off"):
        log.append([message()])
    log.reopen()
    assert log.end_offset == 1, "nothing of what was refused"
    fill(log, 1)
    assert read_all(log) == expect(0, 2)
    assert findings == []


def test_the_directory_is_synced_once_for_each_segment(open_log, files):
    log = open_log()
    for _ in range(3):
        fill(log, 1)
        log.sync()
    assert files.calls.count("sync directory") == 1
    log.roll()
    fill(log, 1)
    log.sync()
    assert files.calls.count("sync directory") == 2


def test_a_disk_that_cannot_be_read_is_said(open_log, files):
    log = open_log()
    fill(log, 1)

    def fail(fd, size, position):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    files.read = fail
    with pytest.raises(StorageError, match="Input/output error"):
        log.read(0, 1)


def test_a_closed_log(open_log, tmp_path):
    log = open_log()
    fill(log, 1)
    log.close()
    assert names(tmp_path, ".index") == [0]
    for refused in (lambda: log.append([message()]), log.sync, log.roll, log.reopen):
        with pytest.raises(StorageError, match="closed"):
            refused()
    assert read_all(log) == expect(0, 1), "readers that are still there need no descriptor of it"


def test_closing_says_that_it_could_not_sync(open_log, files):
    log = open_log()
    fill(log, 1)
    files.failures["sync"] = [errno.EIO]
    with pytest.raises(SyncFailedError):
        log.close()
    with pytest.raises(StorageError, match="closed"):
        log.reopen()


def test_readers_and_a_writer_in_threads(open_log, findings):
    log = open_log()
    end = 500
    wrong = []

    def read():
        found = []
        while len(found) < end:
            found += read_all(log, len(found))
        if found != expect(0, end):
            wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    fill(log, end)
    for reader in readers:
        reader.join()
    assert wrong == []
    assert findings == []
