"""What goes from the disk, and what does not: by what groups have done, and by the limits that the operator sets."""

from __future__ import annotations

import errno
import os

import gevent
import pytest

from gstream.errors import DiskError, DiskFullError, StorageError
from gstream.header import unpack_header
from gstream.mailbox import Mailbox
from gstream.storage.disk import SMALLEST_SEGMENT_BYTES
from gstream.storage.retention import LOOK_SECONDS, PER_LIMIT
from tests.unit.disk_ground import NEVER, disk_grounds, until
from tests.unit.records_ground import batch_of

SEGMENT_BYTES = 2000


class FullMeta:
    """A ``meta.db`` for which there is no room."""

    def write(self, _changes):
        raise DiskFullError("meta.db: full")


@pytest.fixture
def make(tmp_path):
    with disk_grounds(tmp_path, sync_seconds=NEVER, segment_bytes=SEGMENT_BYTES) as make:
        yield make


def fill(ground, count, size=100, first=0):
    """So many messages, one a frame: a segment holds some twelve of a hundred bytes."""
    bodies = [(b"%d:" % number).ljust(size, b"x") for number in range(first, first + count)]
    for body in bodies:
        ground.publish(body)
    return bodies


def look(ground):
    """Let go all that can go: what is kept outside of the log has to be written first."""
    for _ in range(2 * ground.segment_count()):
        ground.look()
        ground.save()


# --- what was done


def test_what_nobody_has_taken_stays(make):
    ground = make()
    bodies = fill(ground, 100)
    look(ground)
    assert ground.log.oldest_offset == 0, "there is no group yet"
    ground.topic.group()
    look(ground)
    assert ground.log.oldest_offset == 0
    assert ground.take_all() == bodies
    assert ground.disk.lost_count == 0


def test_what_all_groups_have_done_goes(make):
    ground = make()
    fill(ground, 100)
    ground.topic.group("slow")
    ground.take_all("fast")
    look(ground)
    assert ground.log.oldest_offset == 0, "the slow one wants it"
    group = ground.topic.group("slow")
    group.done(ground.take("slow", most=50))
    while ground.topic.group("slow")._only.offset < 50:
        group.done(ground.take("slow", most=50 - group._only.offset))
    look(ground)
    assert 25 < ground.log.oldest_offset <= 50
    ground.take_all("slow")
    look(ground)
    assert ground.segment_count() == 1, "the last one stays"
    fill(ground, 1)
    assert len(ground.take_all("slow")) == 1


def test_what_was_taken_and_not_done_goes_only_when_it_is_kept_elsewhere(make):
    ground = make()
    bodies = fill(ground, 100)
    consumer, _ = ground.lease(3)
    ground.take_all()
    ground.look()
    assert ground.log.oldest_offset == 0, "it is not written yet"
    look(ground)
    assert ground.segment_count() == 1
    group = ground.topic.group()
    assert group.acknowledge(consumer, [1]) == []
    ground.save()
    ground.restart()
    batches = [ground.take(), ground.take()]
    assert [(each.bodies(), each.attempt) for each in batches] == [([bodies[0]], 2), ([bodies[2]], 2)]
    assert ground.take() is None


def test_what_was_given_back_waits_in_its_segment(make):
    ground = make()
    bodies = fill(ground, 100)
    consumer, batch = ground.lease(1)
    group = ground.topic.group()
    ground.take_all()
    assert group.return_lease(consumer, batch.id, 0)
    look(ground)
    assert ground.log.oldest_offset == 0
    ground.restart()
    assert ground.take_all() == bodies[:1]
    look(ground)
    assert ground.segment_count() == 1


def test_a_replay_keeps_its_bytes(make):
    ground = make(retain_bytes=5 * SEGMENT_BYTES)
    fill(ground, 300)
    ground.take_all()
    look(ground)
    assert 5 * SEGMENT_BYTES <= ground.log.kept_bytes <= 8 * SEGMENT_BYTES
    oldest = ground.log.oldest_offset
    assert oldest > 0
    assert ground.topic.group().seek(lambda log: log.oldest_offset) == [oldest]
    assert len(ground.take_all()) == 300 - oldest
    assert ground.take_all("new")[0].startswith(b"%d:" % oldest)


def test_a_removed_group_keeps_nothing(make):
    ground = make()
    fill(ground, 100)
    ground.topic.group("gone")
    ground.take_all()
    look(ground)
    assert ground.log.oldest_offset == 0
    ground.topic.forget_group("gone")
    look(ground)
    assert ground.segment_count() == 1


def test_held_messages_do_not_pin_segments(make):
    """A thousand messages come and go while a hundred are delayed, a hundred given back for later, and twenty dead."""
    ground = make(max_attempts=1, lease_seconds=10_000)
    group = ground.topic.group()
    for number in range(100):
        ground.topic.publish_once(b"delayed %d" % number, None, 5000, None)
    held = []
    most = 0
    for number in range(1000):
        ground.publish(b"%d" % number * 50)
        consumer, batch = ground.lease()
        if number % 50 == 7:
            assert group.bury(consumer, batch.id, "why")
            group.commit.wait()
        elif number % 50 == 8:
            held.append((consumer, batch.id))
        else:
            assert group.acknowledge(consumer, [batch.id]) == []
        if number % 20 == 0:
            ground.save()
            ground.look()
            ground.save()
            ground.look()
            most = max(most, ground.segment_count())
    assert ground.topic.delayed_count == 100
    assert (group.dead_count, group.leased_count) == (20, 20)
    look(ground)
    assert ground.segment_count() <= 3
    assert most <= 6
    ground.save()
    ground.restart()
    assert min(ground.take_all(), key=len).strip(b"0123456789") == b""
    assert ground.topic.delayed_count == 100


def test_what_waits_for_later_is_kept_without_its_segment(make):
    ground = make(max_attempts=9)
    bodies = fill(ground, 60)
    group = ground.topic.group()
    for _ in range(60):
        consumer, batch = ground.lease()
        assert group.return_lease(consumer, batch.id, 100 + batch.id)
    look(ground)
    assert ground.segment_count() == 1
    assert ground.take() is None
    ground.sleep(110)
    ground.restart()
    taken = [(message.body, batch.attempt) for batch in iter(ground.take, None) for message in batch.messages()]
    assert taken == [(body, 2) for body in bodies[:11]]
    ground.sleep(60)
    assert len(ground.take_all()) == 49


# --- topics that are logs


def test_of_a_topic_that_is_a_log_nothing_goes_but_by_a_limit(make):
    ground = make()
    fill(ground, 30)
    ground.take_all()
    ground.topic.make_log()
    fill(ground, 70, first=30)
    ground.take_all()
    look(ground)
    assert ground.log.oldest_offset == 0
    ground.restart()
    look(ground)
    assert (ground.log.oldest_offset, ground.take_all()) == (0, [])
    ground.topic.change(retain_seconds=50.0)
    ground.now += 60
    fill(ground, 1)
    look(ground)
    assert ground.log.oldest_offset == 100
    assert ground.disk.lost_count == 0


# --- limits


def test_a_limit_of_bytes_drops_what_was_not_taken_counts_it_and_says_so(make, caplog):
    limit = 4 * SMALLEST_SEGMENT_BYTES
    ground = make(segment_bytes=1 << 20, limit_bytes=limit)
    ground.topic.group("slow")
    ground.take_all("fast")
    for first in range(100):
        fill(ground, 1, size=10_000, first=first)
    ground.take_all("fast")
    look(ground)
    assert limit <= ground.log.kept_bytes <= limit * (1 + 2 / PER_LIMIT)
    oldest = ground.log.oldest_offset
    assert ground.disk.lost_count == oldest > 50
    record = next(record for record in caplog.records if "not taken" in record.message)
    assert (record.levelname, record.topic) == ("WARNING", "default")
    assert ground.topic.group("slow").backlog == 100 - oldest
    assert ground.take_all("slow")[0].startswith(b"%d:" % oldest)
    ground.save()
    ground.restart()
    assert (ground.log.oldest_offset, ground.take_all("slow")) == (oldest, [])


def test_what_all_have_taken_goes_by_a_limit_without_a_word(make, caplog):
    ground = make(retain_bytes=1 << 30, limit_bytes=4 * SMALLEST_SEGMENT_BYTES, segment_bytes=1 << 20)
    fill(ground, 100, size=10_000)
    ground.take_all()
    look(ground)
    assert ground.log.oldest_offset > 50
    assert ground.disk.lost_count == 0
    assert not [record for record in caplog.records if "not taken" in record.message]


def test_a_limit_of_seconds(make):
    ground = make(limit_seconds=100)
    ground.topic.group()
    fill(ground, 30)
    ground.now += 60
    fill(ground, 30, first=30)
    look(ground)
    assert ground.log.oldest_offset == 0
    ground.now += 50
    look(ground)
    assert 12 < ground.log.oldest_offset <= 30
    assert ground.disk.lost_count == ground.log.oldest_offset
    assert ground.take().bodies()[0].startswith(b"%d:" % ground.log.oldest_offset)
    ground.now += 60
    look(ground)
    assert (ground.log.oldest_offset, ground.log.kept_bytes) == (60, 0), "the last segment goes by its age, too"
    assert ground.take() is None
    ground.restart()
    assert ground.topic.publish_bodies([b"a"]) == (1, 60)
    ground.topic.commit.wait()
    assert ground.take_all() == [b"a"]


def test_a_topic_s_own_limit(make):
    ground = make()
    other = ground.broker.topic("other")
    fill(ground, 100)
    for number in range(100):
        other.publish(b"p%d\n" % number * 30, 30)
        other.commit.wait()
    ground.disk.set_limits("default", None, 50.0)
    ground.now += 60
    look(ground)
    ground.topic, ground.log = other, other.partitions[0]
    ground.look()
    assert other.partitions[0].oldest_offset == 0
    assert ground.broker.topic().partitions[0].oldest_offset == 100


def test_leased_messages_of_a_segment_that_goes_by_a_limit_can_still_be_settled(make):
    ground = make(limit_seconds=100)
    bodies = fill(ground, 30)
    group = ground.topic.group()
    consumer, _ = ground.lease(3)
    ground.now += 200
    look(ground)
    assert ground.log.oldest_offset == 30
    assert group.acknowledge(consumer, [0]) == []
    assert group.return_lease(consumer, 1, 0)
    again = ground.take()
    assert (again.bodies(), again.attempt) == ([bodies[1]], 2)
    group.done(again)
    ground.save()
    ground.restart()
    assert ground.topic.group().backlog == 0


def test_a_reader_in_what_goes_goes_on_behind_it(make):
    ground = make(limit_seconds=100)
    fill(ground, 30)
    ground.restart()
    group = ground.topic.group()
    with ground.files.holding("read"):
        taking = gevent.spawn(ground.take)
        ground.files.until_held("read")
        ground.now += 200
        group._only.lose(30)
        gevent.idle()
    assert taking.get() is None
    fill(ground, 1, first=30)
    assert ground.take_all() == [b"30:".ljust(100, b"x")]


# --- errors, and who looks


def test_a_file_that_cannot_be_removed_is_tried_again_and_said_without_a_traceback(make, capsys):
    ground = make()
    fill(ground, 50)
    ground.take_all()
    ground.save()
    remove = ground.files.remove

    def fail(path):
        raise OSError(errno.EIO, "Input/output error", path)

    ground.files.remove = fail
    with pytest.raises(StorageError, match="Input/output error"):
        ground.look()
    ground.files.remove = remove
    look(ground)
    assert ground.log.oldest_offset > 30
    assert "Traceback" not in capsys.readouterr().err


def test_nothing_goes_before_it_is_written_that_it_may_go(make):
    """Else a crash would find neither the message nor that somebody has it."""
    ground = make()
    bodies = fill(ground, 50)
    ground.lease(1)
    ground.take_all()
    state = ground.disk.state
    meta, state.meta = state.meta, FullMeta()
    for _ in range(3):
        with pytest.raises(DiskError, match="full"):
            ground.save()
        with pytest.raises(DiskError, match="full"):
            look(ground)
    assert ground.log.oldest_offset == 0
    state.meta = meta
    look(ground)
    assert ground.segment_count() == 1
    ground.restart()
    batch = ground.take()
    assert (batch.bodies(), batch.attempt) == (bodies[:1], 2)


def test_what_is_done_goes_when_the_state_cannot_be_written_too(make):
    """That is what makes room on a full disk."""
    ground = make()
    fill(ground, 50)
    ground.lease(1)
    ground.take_all()
    ground.save()
    look(ground)
    assert ground.topic.group()._only.progress.kept.keys() == {0}
    fill(ground, 50, first=50)
    ground.take_all()
    ground.save()
    ground.disk.state.meta, meta = FullMeta(), ground.disk.state.meta
    fill(ground, 50, first=100)
    ground.take_all()
    with pytest.raises(DiskError, match="full"):
        ground.save()
    for _ in range(9):
        ground.look()
    assert ground.segment_count() == 1
    ground.disk.state.meta = meta
    ground.restart()
    assert ground.take().bodies()[0].startswith(b"0:")
    assert ground.take() is None


def test_what_a_stream_was_handed_and_has_not_sent_goes_and_is_kept(make):
    ground = make()
    bodies = fill(ground, 50)
    group = ground.topic.group()
    inbox = Mailbox()
    group.waiting[inbox] = 30
    group.wake()
    (batch,) = inbox.look()
    ground.take_all()
    look(ground)
    assert ground.segment_count() == 1
    group.stop_waiting(inbox)
    ground.restart()
    assert ground.take_all() == bodies[: batch.count]


def test_many_groups_are_asked_in_turns(make, monkeypatch):
    monkeypatch.setattr("gstream.storage.retention.READERS_AT_ONCE", 2)
    ground = make()
    fill(ground, 50)
    for number in range(7):
        ground.take_all(f"g{number}")
    ground.save()
    turns = []
    gevent.spawn(lambda: turns.append(ground.segment_count()))
    ground.look()
    assert turns[0] > 1
    assert ground.segment_count() == 1


def test_logs_that_rest_ask_their_files_nothing(make):
    ground = make(limit_seconds=100)
    ground.topic.group()
    fill(ground, 30)
    asked = []
    apply = ground.disk.pool.apply

    def note(function, *arguments):
        asked.append(function.__name__)
        return apply(function, *arguments)

    ground.disk.pool.apply = note
    for _ in range(3):
        ground.look()
    assert asked == ["last_ms", "last_ms"], "of the oldest segment and of the last one, once"
    ground.now += 90
    fill(ground, 1, first=30)
    ground.look()
    assert asked == ["last_ms", "last_ms"]
    ground.now += 20
    ground.look()
    ground.look()
    assert asked.count("drop_before") == 1
    assert ground.log.oldest_offset > 0


def test_what_cannot_be_let_go_is_told_once_until_it_goes(make, monkeypatch, caplog):
    monkeypatch.setattr("gstream.storage.retention.LOOK_SECONDS", 0.001)
    ground = make()
    fill(ground, 50)
    ground.take_all()
    ground.save()
    tries = []
    drop = ground.log.opened.drop_before

    def fail(offset):
        tries.append(offset)
        raise StorageError("Input/output error")

    ground.log.opened.drop_before = fail
    ground.disk._retention.start()
    until(lambda: len(tries) > 3)
    ground.log.opened.drop_before = drop
    until(lambda: ground.segment_count() == 1)
    assert caplog.text.count("cannot remove what is not kept") == 1
    fill(ground, 50, first=50)
    ground.log.opened.drop_before = fail
    ground.take_all()
    ground.save()
    del tries[:]
    until(lambda: len(tries) > 3)
    assert caplog.text.count("cannot remove what is not kept") == 2
    ground.log.opened.drop_before = drop


def test_the_engine_looks_by_itself(make):
    ground = make()
    fill(ground, 50)
    ground.take_all()
    ground.disk._retention.start()
    until(lambda: ground.segment_count() == 1)
    assert LOOK_SECONDS < 5


# --- records that do not say when they were published


@pytest.mark.parametrize("others_ms", [None, 5000])
def test_records_without_a_time_are_as_old_as_their_file(tmp_path, others_ms):
    with disk_grounds(tmp_path, sync_seconds=NEVER, segment_bytes=SEGMENT_BYTES, limit_seconds=100.0) as make:
        ground = make()
        ground.topic.make_log()
        for number in range(20):
            time_ms = -1 if others_ms is None or number % 5 else others_ms
            data = batch_of(b"x" * 200, time_ms=time_ms)
            ground.topic.append_records(0, data, unpack_header(data)).commit.wait()
        assert ground.segment_count() > 2

        def written(seconds):
            directory = f"{ground.path}/topics/default/0"
            for name in os.listdir(directory):
                os.utime(f"{directory}/{name}", (seconds, seconds))

        written(ground.disk.clock() - 99)
        look(ground)
        if others_ms is not None:  # one that tells its time tells it of its segment
            assert ground.log.oldest_offset > 0
            return
        assert ground.log.oldest_offset == 0
        ground.sleep(2)
        look(ground)
        assert ground.log.oldest_offset == ground.log.end_offset
