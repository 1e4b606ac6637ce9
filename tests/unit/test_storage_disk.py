"""The engine as a whole: what it opens, what its logs share, and how it ends."""

from __future__ import annotations

import errno
import os
import shutil
import threading

import gevent
import pytest

from gstream.agenda import Agenda
from gstream.broker import Broker
from gstream.errors import DiskError, LockedError, StorageError, VersionError
from gstream.storage.disk import Disk
from gstream.storage.disklog import REOPEN_SECONDS
from gstream.topic import TopicSettings
from gstream.topic_options import TopicOptions
from tests.unit.disk_ground import NEVER, disk_grounds, until


@pytest.fixture
def make(tmp_path):
    with disk_grounds(tmp_path) as make:
        yield make


@pytest.fixture
def ground(make):
    return make()


def publish(topic, *bodies):
    assert topic.publish_bodies(bodies)[0] == len(bodies)
    topic.commit.wait()


def take_all(topic, group="default"):
    bodies = []
    while batch := topic.group(group).take(1 << 20, 1 << 30):
        bodies += batch.bodies()
    return bodies


# --- opening


def test_a_directory_is_made_and_there_is_nothing_in_it(tmp_path):
    disk = Disk(str(tmp_path / "new"), 1 << 20, Agenda())
    assert (list(disk.topic_names), disk.partition_count("default"), disk.torn_bytes) == ([], 0, 0)
    assert disk.open_log("a", 3).end_offset == 0
    disk.close()
    assert sorted(os.listdir(tmp_path / "new")) == ["lock", "meta.db", "removed", "topics", "version"]
    assert os.listdir(tmp_path / "new" / "topics") == [], "files are made when something is written"


def test_one_engine_a_directory(ground):
    threads = threading.active_count()
    for _ in range(3):
        with pytest.raises(LockedError, match="in use by process"):
            Disk(ground.path, 1 << 20, ground.agenda)
    assert threading.active_count() <= threads
    ground.publish(b"a")
    ground.disk.close()
    other = Disk(ground.path, 1 << 20, ground.agenda)
    other.close()
    ground.open()
    assert ground.take_all() == [b"a"]


def test_what_cannot_be_opened_stays_as_it_is_and_free(ground):
    ground.publish(b"a")
    ground.disk.close()
    ground.files.errors["sync"] = errno.EIO
    with pytest.raises(StorageError, match="Input/output error"):
        Disk(ground.path, 1 << 20, ground.agenda, files=ground.files)
    ground.files.errors.clear()
    version = os.path.join(ground.path, "version")
    with open(version, "rb+") as file:
        file.write(b"gstream 9")
    with pytest.raises(VersionError):
        Disk(ground.path, 1 << 20, ground.agenda)
    with open(version, "rb+") as file:
        file.write(b"gstream 1")
    ground.open()
    assert ground.take_all() == [b"a"]


def test_everything_is_there_again(make):
    ground = make()
    names = [f"topic.{number}" for number in range(30)]
    for name in names:
        publish(ground.broker.topic(name), name.encode(), b"second\n")
        ground.broker.topic(name).group("g")
    ground.broker.topic("empty").group("waits")
    ground.restart()
    assert sorted(ground.broker.topics) == sorted([*names, "empty", "default"])
    assert list(ground.broker.topics["empty"].groups) == ["waits"]
    for name in names:
        batches = ground.broker.topic(name).peek("g", 10)
        assert [body for batch in batches for body in batch.bodies()] == [name.encode(), b"second\n"]


def test_a_topic_keeps_its_partitions_whatever_the_settings_say(make):
    ground = make(partitions=3)
    ground.publish(b"a")
    ground.topics = TopicSettings(partitions=1)
    ground.restart()
    assert len(ground.topic.partitions) == 3
    assert len(ground.broker.topic("new").partitions) == 1
    assert ground.take_all() == [b"a"]


def test_the_files_of_a_lost_state_tell_how_many_partitions_there_were(make):
    ground = make(partitions=3)
    for number in range(3):
        ground.topic.partitions[number].append(b"a\n", 1)
    ground.disk.close()
    for name in os.listdir(ground.path):
        if name.startswith("meta.db"):
            os.remove(f"{ground.path}/{name}")
    ground.topics = TopicSettings(partitions=1)
    ground.open()
    assert len(ground.topic.partitions) == 3
    assert (ground.disk.topic_names, ground.disk.partition_count("default")) == (["default"], 3)


def test_a_torn_tail_is_cut_and_counted(ground, caplog):
    ground.publish(b"a", b"b")
    ground.disk.close()
    (name,) = [each for each in os.listdir(f"{ground.path}/topics/default/0") if each.endswith(".log")]
    with open(f"{ground.path}/topics/default/0/{name}", "ab") as file:
        file.write(b"half a frame")
    ground.open()
    assert ground.disk.torn_bytes == len(b"half a frame")
    assert dict(ground.disk.rows())["disk.torn"] == ground.disk.torn_bytes
    assert "WARNING" in {record.levelname for record in caplog.records}
    ground.publish(b"c")
    assert ground.take_all() == [b"a", b"b", b"c"]


def test_a_copy_made_while_it_runs_is_a_directory_like_this_one(ground, tmp_path):
    ground.publish(*[b"%d" % number for number in range(10)])
    consumer, batch = ground.lease(4)
    ground.topic.group().acknowledge(consumer, [batch.id, batch.id + 1])
    ground.save()
    shutil.copytree(ground.path, tmp_path / "copy")
    ground.publish(b"too late")
    copy = Disk(str(tmp_path / "copy"), 1 << 20, Agenda())
    topic = Broker(copy, Agenda()).topic()
    group = topic.group()
    assert group.backlog == 8
    assert [body for batch in topic.peek("default", 20) for body in batch.bodies()] == [b"%d" % n for n in range(2, 10)]
    copy.close()


@pytest.mark.parametrize(
    ("sync_seconds", "promise", "sync"),
    [
        (0.0, "before they are answered", "always"),
        (2.5, "synced every 2.5 s", "2.5"),
        (NEVER, "when the system", "never"),
    ],
)
def test_it_says_what_a_stored_message_is_worth(make, sync_seconds, promise, sync):
    disk = make(sync_seconds=sync_seconds).disk
    assert promise in disk.promise
    assert disk.path in disk.promise
    assert dict(disk.rows())["sync"] == sync


# --- facts and options


def test_facts_are_there_after_a_restart_and_go_with_their_topic(ground):
    ground.publish(b"a")
    for name in ("cluster", "topic/default/id", "topic/default2/id", "floor/default/1"):
        ground.disk.facts.put(name, name.encode())
    ground.disk.facts.commit().wait()
    ground.restart()
    names = ["cluster", "floor/default/1", "topic/default/id", "topic/default2/id"]
    assert ground.disk.facts.under("") == {name: name.encode() for name in names}
    ground.topic.make_log()
    ground.broker.remove("default").wait()
    assert list(ground.disk.facts.under("")) == ["cluster", "topic/default2/id"]
    ground.restart()
    assert list(ground.disk.facts.under("")) == ["cluster", "topic/default2/id"]
    assert not ground.topic.options.is_log


def test_a_topic_s_own_segments(make):
    ground = make(segment_bytes=1 << 20, sync_seconds=NEVER)
    ground.topic.set_options(TopicOptions(segment_bytes=2000))
    other = ground.broker.topic("other")
    for _ in range(40):
        ground.publish(bytes(200))
        publish(other, bytes(200))
    assert ground.segment_count() > 4
    assert len(other.partitions[0].files.segments()) == 1
    ground.save()
    ground.restart()
    before = ground.segment_count()
    for _ in range(40):
        ground.publish(bytes(200))
    assert ground.segment_count() > before + 2
    ground.topic.set_options(TopicOptions())
    ground.publish(bytes(200))
    before = ground.segment_count()
    for _ in range(40):
        ground.publish(bytes(200))
    assert ground.segment_count() == before


def test_partitions_that_were_added_are_kept(make):
    ground = make(sync_seconds=NEVER)
    ground.publish(b"a")
    ground.topic.group()
    ground.topic.add_partitions(2)
    for number in range(3):
        publish(ground.topic, b"%d" % number)
    ground.topic.keep().wait()
    ground.restart()
    assert len(ground.topic.partitions) == 3
    assert sorted(body for body in ground.take_all()) == [b"0", b"1", b"2", b"a"]
    ground.save()
    ground.restart()
    assert ground.take_all() == []
    ground.broker.remove("default").wait()
    assert not os.path.exists(f"{ground.path}/topics/default")


# --- what logs share


def test_the_logs_share_the_memory_and_the_one_not_used_for_longest_loses_its_own(make):
    ground = make(max_bytes=1 << 20, sync_seconds=NEVER)
    cache_bytes = (1 << 20) // 8
    topics = [ground.broker.topic(f"t{number}") for number in range(4)]
    for topic in topics:
        publish(topic, bytes(cache_bytes // 4 - 100))
    assert [topic.partitions[0].first_offset for topic in topics] == [0, 0, 0, 0]
    publish(topics[0], bytes(1000))
    assert [topic.partitions[0].first_offset for topic in topics] == [0, 1, 0, 0]
    publish(topics[2], bytes(cache_bytes // 4))
    assert [topic.partitions[0].first_offset for topic in topics] == [0, 1, 0, 1]
    assert ground.disk.cached_bytes <= cache_bytes
    rows = dict(ground.disk.rows())
    assert rows["memory.used"] == ground.disk.cached_bytes
    assert rows["disk.bytes"] == sum(topic.kept_bytes for topic in topics)
    assert rows["disk.lost"] == 0


def test_one_log_s_failure_is_not_the_others(make):
    ground = make()
    other = ground.broker.topic("other")
    publish(other, b"a")
    failing = ground.broker.topic("failing")
    publish(failing, b"a")
    failing.partitions[0].fail(StorageError("failed"))
    failing.publish_bodies([b"b"])
    with pytest.raises(DiskError, match="failed"):
        failing.commit.wait()
    publish(other, b"b")
    assert take_all(other) == [b"a", b"b"]
    assert take_all(failing) == [b"a"]


# --- removing


def test_a_topic_that_is_removed_and_made_again_at_once(ground):
    publish(ground.topic, b"old")
    ground.topic.group("old")
    gone = ground.broker.remove("default")
    new = ground.broker.topic()
    assert new.publish_bodies([b"new"]) == (1, 0)
    new.commit.wait()
    assert gone.is_done
    assert take_all(new) == [b"new"]
    ground.disk.flush()
    ground.restart()
    assert list(ground.topic.groups) == ["default"]
    assert [body for batch in ground.topic.peek("again", 10) for body in batch.bodies()] == [b"new"]


def test_a_topic_that_is_removed_while_it_is_written_to(ground):
    with ground.files.holding("sync"):
        ground.topic.publish_bodies([b"old"])
        commit = ground.topic.commit
        ground.files.until_held("sync")
        ground.topic.publish_bodies([b"waits"])
        waits = ground.topic.commit
        ground.broker.remove("default")
        gevent.idle()
    commit.wait()
    with pytest.raises(DiskError, match="removed"):
        waits.wait()
    ground.disk.flush()
    ground.restart()
    assert ground.take_all() == []


def test_a_topic_that_is_removed_again_while_the_first_one_is_still_going(ground):
    with ground.files.holding("sync"):
        ground.start_publishing(b"old")
        ground.files.until_held("sync")
        removals = [ground.broker.remove("default")]
        commits = []
        for body in (b"new", b"newest"):
            topic = ground.broker.topic()
            topic.publish_bodies([body])
            commits.append(topic.commit)
            gevent.idle()
            if body == b"new":
                removals.append(ground.broker.remove("default"))
    until(lambda: all(each.is_done for each in removals + commits))
    assert [each.error for each in removals] == [None, None]
    assert [each.error is None for each in commits] == [False, True]
    assert take_all(topic) == [b"newest"]


# --- a disk that lost what it was given


def test_what_the_system_lost_is_taken_back(make):
    """A sync has failed, and the last messages are gone: their offsets are others', which nobody has done yet."""
    ground = make(sync_seconds=NEVER)
    ground.publish(*[b"%d" % number for number in range(5)])
    size = ground.log.kept_bytes
    for number in range(5, 10):
        ground.publish(b"%d" % number)
    assert len(ground.take_all()) == 10
    ground.save()
    (name,) = [each for each in os.listdir(f"{ground.path}/topics/default/0") if each.endswith(".log")]
    os.truncate(f"{ground.path}/topics/default/0/{name}", size)
    ground.log.fail(StorageError("not known to be on disk"))
    ground.sleep(REOPEN_SECONDS)
    until(lambda: ground.log.end_offset == 5)
    assert ground.topic.publish_bodies([b"new 5", b"new 6"]) == (2, 5)
    ground.topic.commit.wait()
    assert ground.topic.group().backlog == 2
    ground.save()
    ground.publish(b"new 7", b"new 8", b"new 9", b"new 10", b"new 11")
    ground.restart()
    assert ground.take_all() == [b"new %d" % number for number in range(5, 12)]


# --- the end


def test_closing_stores_what_is_under_way(make):
    ground = make(max_attempts=1)
    ground.publish(b"a", b"b")
    consumer, _ = ground.lease(2)
    group = ground.topic.group()
    ground.topic.publish_once(b"delayed", None, 5, b"id")
    ground.topic.commit.wait()
    with ground.files.holding("sync"):
        assert group.bury(consumer, 0, "why")
        assert group.acknowledge(consumer, [1]) == []
        ground.now += 6
        while ground.agenda.run_next() == 0.0:
            pass
        commit = ground.start_publishing(b"c")
        ground.files.until_held("sync")
        closing = gevent.spawn(ground.disk.close)
        gevent.idle()
        assert not closing.ready()
    closing.get()
    assert (commit.is_done, commit.error) == (True, None)
    ground.open()
    assert ground.topic.delayed_count == 0
    assert ground.take_all() == [b"delayed", b"c"]
    assert [body for batch in ground.broker.topic("default.dlq").peek("g", 9) for body in batch.bodies()] == [b"a"]


def test_closing_on_a_disk_that_fails_says_so_and_ends(ground, caplog):
    ground.publish(b"a")
    ground.files.errors["sync"] = errno.EIO
    ground.start_publishing(b"b")
    ground.disk.close()
    assert "cannot" in caplog.text
    ground.files.errors.clear()
    ground.open()
    assert ground.take_all()[0] == b"a"


def test_logs_are_closed_at_the_same_time(make):
    ground = make(sync_seconds=NEVER)
    for number in range(5):
        publish(ground.broker.topic(f"t{number}"), b"a")
    with ground.files.holding("sync"):
        closing = gevent.spawn(ground.disk.close)
        until(lambda: ground.files.counts["sync"] == 5)
    closing.get()
    ground.open()
    before = ground.files.counts["sync"]
    ground.disk.close()
    assert ground.files.counts["sync"] == before, "nothing was written"
    ground.open()


def test_closing_leaves_no_thread(ground):
    before = threading.active_count()
    for number in range(50):
        ground.start_publishing(b"%d" % number)
        gevent.sleep(0)
    ground.disk.close()
    assert threading.active_count() <= before
    ground.open()
    assert len(ground.take_all()) == 50


def test_nothing_to_flush_is_flushed_at_once(ground):
    ground.disk.flush()
    ground.publish(b"a")
    ground.disk.flush()
    commit = ground.start_publishing(b"b")
    ground.disk.flush()
    assert commit.is_done
