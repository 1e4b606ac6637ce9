"""What is written to a log and when, what becomes of it when the disk fails, and what stays in memory."""

from __future__ import annotations

import errno

import gevent
import pytest

from gstream.batch import pack
from gstream.counted import CountedBatch, pack_counted
from gstream.errors import DiskError
from gstream.mailbox import Mailbox
from gstream.storage.disklog import FRAME_BYTES, REOPEN_SECONDS
from tests.unit.disk_ground import NEVER, PLENTY, disk_grounds, until


@pytest.fixture
def make(tmp_path):
    with disk_grounds(tmp_path) as make:
        yield make


@pytest.fixture
def ground(make):
    return make()


def outcome(commit):
    """What becomes of it: "stored", or the text of the error."""
    try:
        commit.wait()
    except DiskError as error:
        return str(error)
    return "stored"


# --- what is written together


def test_what_is_published_in_one_turn_is_one_write_and_one_sync(ground):
    commits = {ground.start_publishing(b"%d" % number) for number in range(100)}
    assert len(commits) == 1
    commits.pop().wait()
    assert (ground.files.counts["write"], ground.files.counts["sync"]) == (1, 1)
    assert ground.take_all() == [b"%d" % number for number in range(100)]


def test_what_is_published_while_something_is_written_is_written_together_next(ground):
    with ground.files.holding("sync"):
        first = ground.start_publishing(b"first")
        ground.files.until_held("sync")
        others = [ground.start_publishing(b"%d" % number) for number in range(5)]
        gevent.sleep(0)
        others.append(ground.start_publishing(b"5"))
        assert len({first, *others}) == 2
        assert ground.files.counts["write"] == 1
    assert {outcome(commit) for commit in others} == {"stored"}
    assert (ground.files.counts["write"], ground.files.counts["sync"]) == (2, 2)
    assert ground.take_all() == [b"first", *[b"%d" % number for number in range(6)]]


def test_much_in_one_turn_is_several_frames_and_one_write(ground):
    body = bytes(1000)
    for _ in range(5 * FRAME_BYTES // 1000):
        commit = ground.start_publishing(body)
    commit.wait()
    assert ground.files.counts["write"] == 1
    frames = ground.log.files.read(0, PLENTY)
    assert len(frames) in (5, 6)
    assert sum(frame.count for frame in frames) == ground.log.end_offset


def test_lines_and_counted_messages_keep_their_order(ground):
    for number in range(6):
        ground.log.append(pack(b"%d" % number), 1)
        ground.log.append(pack_counted(b"\n%d" % number, b"key"), 1, CountedBatch)
    ground.log.commit.wait()
    assert ground.files.counts["write"] == 1
    assert ground.take_all() == [body for n in range(6) for body in (b"%d" % n, b"\n%d" % n)]


def test_ids_are_known_before_messages_are_stored(ground):
    assert ground.topic.publish_bodies([b"a", b"b"]) == (2, 0)
    assert ground.topic.publish_bodies([b"c"]) == (1, 2)
    assert (ground.log.end_offset, ground.log.next_offset) == (0, 3)
    ground.topic.commit.wait()
    assert (ground.log.end_offset, ground.log.next_offset) == (3, 3)


def test_each_message_has_the_time_at_which_it_was_written(ground):
    ground.publish(b"a")
    ground.now += 5
    ground.publish(b"b")
    ground.now -= 60
    ground.publish(b"c")
    (batch,) = ground.topic.peek("default", 10)
    times = [message.time_ms for message in batch.messages()]
    assert times == [1_000_000_500, 1_000_005_500, 1_000_005_500], "and they do not go back"


# --- what can be read


def test_nobody_is_given_what_is_not_on_disk_yet(ground):
    group = ground.topic.group()
    ground.publish(b"a")
    with ground.files.holding("sync"):
        ground.start_publishing(b"b", b"c")
        ground.files.until_held("sync")
        assert ground.take_all() == [b"a"]
        assert ground.topic.peek("default", 10) == []
        assert (ground.log.end_offset, group.backlog, ground.topic.published_count) == (1, 0, 1)
    ground.disk.flush()
    assert ground.take_all() == [b"b", b"c"]


def test_nobody_is_given_it_from_the_file_either(ground):
    """After a restart nothing is in memory, so what is read ends where something is being written."""
    ground.publish(b"a", b"b")
    ground.restart()
    with ground.files.holding("sync"):
        ground.start_publishing(b"c", b"d")
        ground.files.until_held("sync")
        assert [batch.bodies() for batch in ground.topic.peek("default", 10)] == [[b"a", b"b"]]
        assert ground.log.find_time(0) == 0
        assert ground.log.find_time(10**15) == 2
        assert ground.take_all() == [b"a", b"b"]
        assert ground.topic.group().backlog == 0
    ground.disk.flush()
    assert ground.take_all() == [b"c", b"d"]


def test_whoever_waits_is_woken_when_it_is_stored(ground):
    got = gevent.spawn(Mailbox().wait, ground.topic.group(), 20)
    gevent.idle()
    with ground.files.holding("sync"):
        ground.start_publishing(b"a")
        ground.files.until_held("sync")
        gevent.idle()
        assert not got.ready()
    assert got.get().bodies() == [b"a"]


def test_consumers_that_keep_up_read_no_files(ground):
    groups = ["one", "two", "three"]
    for number in range(300):
        bodies = [b"%d %d" % (number, each) for each in range(20)]
        ground.publish(*bodies)
        for group in groups:
            assert ground.take_all(group) == bodies
    assert ground.files.counts["read"] == 0


def test_what_is_in_memory_is_bounded(make):
    ground = make(max_bytes=1 << 20, sync_seconds=NEVER)
    for number in range(40):
        ground.publish(b"%d" % number, bytes(20_000))
        assert ground.disk.cached_bytes <= (1 << 20) // 8
    assert ground.disk.cached_bytes > 90_000
    assert ground.log.first_offset > 60
    assert ground.take_all()[::2] == [b"%d" % number for number in range(40)]


# --- when it is synced


def test_never_means_never(make):
    ground = make(sync_seconds=NEVER)
    ground.publish(b"a")
    ground.publish(b"b")
    assert (ground.files.counts["write"], ground.files.counts["sync"]) == (2, 0)
    assert ground.log.files.synced_offset == 0
    ground.disk.close()
    assert ground.files.counts["sync"] == 1, "but at the end"
    ground.open()


def test_every_so_many_seconds(make):
    ground = make(sync_seconds=0.01)
    ground.disk.start()
    ground.publish(b"a")
    until(lambda: ground.log.files.synced_offset == 1)
    syncs = ground.files.counts["sync"]
    with ground.files.holding("sync"):
        ground.publish(b"b")
        ground.files.until_held("sync")
        ground.publish(b"c")
        assert ground.take_all() == [b"a", b"b", b"c"], "nobody waits for it"
    until(lambda: ground.log.files.synced_offset == 3)
    assert syncs + 1 <= ground.files.counts["sync"] <= syncs + 2


# --- a full disk


def test_a_full_disk_is_said_and_works_again_when_there_is_room(ground, caplog):
    ground.publish(b"a")
    ground.files.errors["write"] = errno.ENOSPC
    for _ in range(3):
        assert "No space left on device" in outcome(ground.start_publishing(b"lost"))
        assert (ground.log.end_offset, ground.log.next_offset) == (1, 1)
    ground.files.errors.clear()
    assert ground.topic.publish_bodies([b"b"]) == (1, 1), "its offset is given out again"
    ground.topic.commit.wait()
    assert ground.take_all() == [b"a", b"b"]
    assert [record.levelname for record in caplog.records if "store" in record.message] == ["ERROR", "WARNING"]
    ground.restart()
    assert ground.log.end_offset == 2


def test_what_waits_behind_a_failed_write_fails_too(ground):
    ground.publish(b"a")
    ground.files.errors["write"] = errno.ENOSPC
    with ground.files.holding("write"):
        first = ground.start_publishing(b"b")
        ground.files.until_held("write")
        second = ground.start_publishing(b"c")
    assert "No space" in outcome(first)
    assert "No space" in outcome(second)
    ground.files.errors.clear()
    ground.publish(b"d")
    assert ground.take_all() == [b"a", b"d"]


def test_an_id_of_a_message_that_was_not_stored_is_not_known(ground):
    ground.files.errors["write"] = errno.ENOSPC
    ground.topic.publish_once(b"a", None, 0, b"id")
    assert "No space" in outcome(ground.topic.commit)
    ground.files.errors.clear()
    assert ground.topic.publish_once(b"a", None, 0, b"id") == 0
    ground.topic.commit.wait()
    assert ground.topic.publish_once(b"a", None, 0, b"id") == 0
    assert ground.take_all() == [b"a"]


def test_groups_go_on_on_a_full_disk(ground):
    ground.publish(b"a", b"b", b"c")
    ground.files.errors["write"] = errno.ENOSPC
    outcome(ground.start_publishing(b"lost"))
    group = ground.topic.group()
    consumer, batch = ground.lease(2)
    assert group.acknowledge(consumer, [batch.id]) == []
    assert group.return_lease(consumer, batch.id + 1, 0)
    assert ground.take().bodies() == [b"b"]
    assert ground.take_all() == [b"c"]


def test_a_dead_letter_that_cannot_be_stored_is_delivered_again(ground):
    ground.publish(b"a")
    group = ground.topic.group()
    consumer, batch = ground.lease()
    ground.files.errors["write"] = errno.ENOSPC
    assert group.bury(consumer, batch.id, "why")
    assert "No space" in outcome(group.commit)
    ground.files.errors.clear()
    ground.sleep(1)
    consumer, batch = ground.lease()
    assert group.bury(consumer, batch.id, "why")
    group.commit.wait()
    assert (ground.take(), group.dead_count) == (None, 1)


# --- a disk that fails


def test_after_a_failed_sync_nothing_is_taken_until_the_log_was_reopened(ground, caplog):
    ground.publish(b"a")
    ground.files.errors["sync"] = errno.EIO
    assert "not known to be on disk" in outcome(ground.start_publishing(b"b"))
    writes = ground.files.counts["write"]
    assert "not known to be on disk" in outcome(ground.start_publishing(b"c"))
    syncs = ground.files.counts["sync"]
    ground.sleep(REOPEN_SECONDS)
    until(lambda: ground.files.counts["sync"] > syncs)
    assert outcome(ground.start_publishing(b"c")) != "stored", "it was tried, and failed again"
    assert ground.take_all() == [b"a"]
    until(lambda: ground.agenda.run_next() is not None)
    ground.files.errors.clear()
    ground.sleep(REOPEN_SECONDS)
    until(lambda: ground.log.end_offset == 2)
    assert ground.topic.publish_bodies([b"d"]) == (1, 2)
    ground.topic.commit.wait()
    assert ground.take_all() == [b"b", b"d"], "what was whole is kept, and what was refused later never written"
    assert ground.files.counts["write"] > writes
    assert [record.levelname for record in caplog.records if "store" in record.message] == ["ERROR", "WARNING"]


def test_a_failed_write_is_no_end_either(ground):
    ground.publish(b"a")
    ground.files.errors["write"] = errno.EIO
    assert "Input/output error" in outcome(ground.start_publishing(b"b"))
    ground.files.errors.clear()
    ground.sleep(REOPEN_SECONDS)
    until(lambda: outcome(ground.start_publishing(b"c")) == "stored")
    assert ground.take_all() == [b"a", b"c"]


def test_a_sync_that_fails_in_the_background_is_said_to_the_next_ones(make):
    ground = make(sync_seconds=0.01)
    ground.disk.start()
    ground.files.errors["sync"] = errno.EIO
    ground.publish(b"a")
    until(lambda: outcome(ground.start_publishing(b"b")) != "stored")
    end = ground.log.end_offset
    ground.files.errors.clear()
    ground.sleep(REOPEN_SECONDS)
    until(lambda: outcome(ground.start_publishing(b"c")) == "stored")
    assert ground.log.next_offset == ground.log.end_offset > end
    taken = ground.take_all()
    assert (taken[0], taken[-1]) == (b"a", b"c")
    assert len(taken) == ground.log.end_offset


def test_ids_are_right_after_a_sync_that_fails_while_something_is_written(make):
    """What is written may be stored all the same; the next message must not be told its id."""
    ground = make(sync_seconds=0.01)
    ground.disk.start()
    ground.files.errors["sync"] = errno.EIO
    with ground.files.holding("sync"):
        ground.publish(b"a")
        ground.files.until_held("sync")
        commits = [ground.start_publishing(b"b")]
        gevent.sleep(0)
        commits.append(ground.start_publishing(b"c"))
    outcomes = [outcome(commit) for commit in commits]
    until(lambda: ground.log._failure is not None)
    ground.files.errors.clear()
    ground.sleep(REOPEN_SECONDS)
    until(lambda: outcome(ground.start_publishing(b"d")) == "stored")
    assert ground.log.next_offset == ground.log.end_offset
    _, id = ground.topic.publish_bodies([b"last"])
    ground.topic.commit.wait()
    bodies = ground.take_all()
    assert bodies[id] == b"last"
    for body, said in zip((b"b", b"c"), outcomes, strict=True):
        assert body in bodies or said != "stored"


def test_a_directory_that_cannot_be_made_is_said_and_tried_again(ground):
    make_directory = ground.files.make_directory

    def fail(path):
        raise OSError(errno.ENOSPC, "No space left on device", path)

    ground.files.make_directory = fail
    assert "No space" in outcome(ground.start_publishing(b"a"))
    ground.files.make_directory = make_directory
    ground.publish(b"b")
    assert ground.take_all() == [b"b"]


def test_a_log_writes_although_all_threads_are_busy(make):
    """The hub itself gives out what is to be written, and must never wait for a thread."""
    ground = make(partitions=30)
    with ground.files.holding("sync"):
        commits = []
        for number in range(60):
            commits.append(ground.start_publishing(b"%d" % number))
            if number % 2:
                gevent.sleep(0)
        ground.files.until_held("sync")
    assert {outcome(commit) for commit in commits} == {"stored"}
    assert sorted(map(int, ground.take_all())) == list(range(60))


# --- what may wait


def test_no_more_waits_than_there_may_be_in_memory(make):
    ground = make(max_bytes=1000)
    log = ground.topic.partitions[0]
    with ground.files.holding("write"):
        ground.topic.publish(pack(b"x" * 598), 1)
        first = ground.topic.commit
        ground.files.until_held("write")
        assert ground.topic.publish(pack(b"y" * 500), 1) == 0
        assert ground.topic.publish(pack(b"z" * 398), 1) == 1
        second = ground.topic.commit
        assert (ground.disk.waiting_bytes, ground.disk.held_bytes) == (1000, 0)
        assert log.append(pack(b"counted before"), 1, always=True) == 1
    assert (outcome(first), outcome(second)) == ("stored", "stored")
    assert ground.disk.waiting_bytes == 0
    assert ground.topic.publish(pack(b"y" * 500), 1) == 1


def test_leases_that_take_all_of_the_memory_hold_no_producer(make):
    ground = make(max_bytes=1000)
    ground.disk.held_bytes = 1000
    assert ground.topic.publish(pack(b"x" * 900), 1) == 1
    assert outcome(ground.topic.commit) == "stored"
