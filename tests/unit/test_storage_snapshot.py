from __future__ import annotations

import errno
import os

import pytest

from gstream.batch import Batch, pack
from gstream.errors import DiskFullError, StorageError
from gstream.header import unpack_header
from gstream.storage.finding import Kind
from gstream.storage.log import Log, LogSettings
from gstream.storage.producers import OutOfOrderError, ProducerStates
from gstream.storage.recordbatch import RecordBatch
from gstream.storage.segment import name_of
from gstream.storage.snapshot import PRODUCERS, SnapshotError, Snapshots, decode_snapshot
from tests.unit.disturbed_files import FaultyFiles
from tests.unit.records_ground import batch_of, marker


def record_batch(data):
    return RecordBatch(data, unpack_header(data))


def sent(number, **fields):
    return record_batch(batch_of(b"x", producer_id=7, producer_epoch=0, base_sequence=number, **fields))


@pytest.fixture
def files():
    files = FaultyFiles()
    yield files
    assert files.opened == 0, "every descriptor is given back"


@pytest.fixture
def findings():
    return []


@pytest.fixture
def open_log(files, findings, tmp_path):
    logs = []

    def open_log():
        for log in logs:
            log.close()
        logs[:] = [Log(str(tmp_path), findings.append, LogSettings(), files)]
        return logs[0]

    yield open_log
    files.failures.clear()
    for log in logs:
        log.close()


def snapshots_in(path):
    return sorted(name for name in os.listdir(path) if name.endswith(PRODUCERS))


def states_of(*batches):
    states = ProducerStates()
    for offset, batch in enumerate(batches):
        states.note(batch.header, offset, batch.commits)
    return states


# --- the file


@pytest.fixture
def stored(tmp_path, files):
    """A snapshot's bytes."""
    snapshots = Snapshots(files, str(tmp_path), [])
    snapshots.write(9, states_of(sent(0), sent(1)))
    return (tmp_path / name_of(9, PRODUCERS)).read_bytes()


def test_a_snapshot_holds_what_was_known(stored):
    assert decode_snapshot(stored, 9).encode() == states_of(sent(0), sent(1)).encode()


def test_a_changed_snapshot_is_refused(stored):
    for position in range(len(stored)):
        changed = stored[:position] + bytes([stored[position] ^ 1]) + stored[position + 1 :]
        with pytest.raises(SnapshotError):
            decode_snapshot(changed, 9)
        with pytest.raises(SnapshotError):
            decode_snapshot(stored[:position], 9)
    with pytest.raises(SnapshotError, match="of another segment, 9"):
        decode_snapshot(stored, 10)


# --- beside its segment


def test_where_nobody_is_known_there_is_none(open_log, tmp_path):
    log = open_log()
    log.append([Batch(0, 1, pack(b"line"), 1), record_batch(batch_of(b"of nobody"))])
    log.roll()
    assert snapshots_in(tmp_path) == []


def test_there_is_one_for_the_last_segment(open_log, tmp_path):
    log = open_log()
    for number in range(3):
        log.append([sent(number)])
        log.roll()
        assert snapshots_in(tmp_path) == [name_of(number + 1, PRODUCERS)]
    log.append([sent(3)])
    before = log.producers().encode()
    again = open_log()
    assert again.producers().encode() == before
    assert again.producers().check(sent(1).header) == 1


def test_it_is_on_disk_before_its_segment_begins(open_log, files):
    log = open_log()
    log.append([sent(0)])
    files.calls.clear()
    log.roll()
    create = files.calls.index("create")
    assert create > [at for at, call in enumerate(files.calls) if call == "sync"][1]
    assert create > max(at for at, call in enumerate(files.calls[:create]) if call == "sync directory") > 2, (
        "its name, too: a segment without a snapshot is one before which nobody was known"
    )


def test_where_there_is_no_room_for_it_no_segment_begins(open_log, files, tmp_path):
    log = open_log()
    log.append([sent(0)])
    log.sync()
    files.failures["truncate"] = [errno.ENOSPC]
    with pytest.raises(DiskFullError):
        log.roll()
    assert [each.base_offset for each in log.segments()] == [0]
    log.roll()
    log.append([sent(1)])
    assert snapshots_in(tmp_path) == [name_of(1, PRODUCERS)]
    assert open_log().producers().check(sent(0).header) == 0


@pytest.mark.parametrize("how", [lambda data: data[:-1], lambda _data: b"", lambda data: b"\0" + data[1:]])
def test_a_damaged_one_is_made_again(open_log, findings, tmp_path, how):
    log = open_log()
    log.append([sent(0), sent(1, is_transactional=True)])
    log.roll()
    log.append([record_batch(marker(commits=False))])
    log.roll()
    log.append([Batch(0, 1, pack(b"line"), 1)])
    path = tmp_path / name_of(3, PRODUCERS)
    whole = path.read_bytes()
    path.write_bytes(how(whole))
    log = open_log()
    assert [finding.kind for finding in findings] == [Kind.INDEX]
    assert path.read_bytes() == whole
    producers = log.producers()
    assert producers.check(sent(0).header) == 0
    assert producers.aborted(0, 3) == [(7, 1)]
    with pytest.raises(OutOfOrderError):
        producers.check(sent(3).header)


def test_those_of_other_segments_are_removed(open_log, tmp_path):
    log = open_log()
    log.append([sent(0)])
    (tmp_path / name_of(77, PRODUCERS)).write_bytes(b"of a segment that never began")
    (tmp_path / name_of(0, PRODUCERS)).write_bytes((tmp_path / name_of(77, PRODUCERS)).read_bytes())
    log.roll()
    open_log()
    assert snapshots_in(tmp_path) == [name_of(1, PRODUCERS)]


def test_who_is_forgotten_leaves_none(open_log, tmp_path):
    log = open_log()
    log.append([sent(0)], 1_000_000)
    log.roll()
    log.append([record_batch(batch_of(b"x", producer_id=8, producer_epoch=0, base_sequence=0))], 10**10)
    log.roll()
    assert snapshots_in(tmp_path) == [name_of(2, PRODUCERS)]
    assert open_log().producers().check(sent(5).header) is None


def test_a_log_that_failed_knows_them_as_they_are_in_its_files(open_log, files):
    log = open_log()
    log.append([sent(0)])
    log.roll()
    log.append([sent(1)])
    files.failures["sync"] = [errno.EIO]
    with pytest.raises(Exception, match="not known to be on disk"):
        log.sync()
    log.reopen()
    assert log.producers().check(sent(1).header) == 1
    assert log.producers().check(sent(2).header) is None


def test_what_is_known_stays_known_where_reopening_fails(open_log, files):
    """And time does not go back, though the last message's is found nowhere any more."""
    log = open_log()
    log.append([Batch(0, 1, pack(b"line"), 5000)])
    log.append([sent(0)])
    files.failures["sync"] = [errno.EIO]
    with pytest.raises(Exception, match="not known to be on disk"):
        log.sync()
    for call in ("forget", "sync"):
        files.failures[call] = [errno.EIO]
        with pytest.raises(StorageError):
            log.reopen()
        assert log.producers().check(sent(0).header) == 1
    log.reopen()
    assert log.producers().check(sent(0).header) == 1
    last = Batch(0, 1, pack(b"next"), 4000)
    log.append([last])
    assert last.times == 5000
