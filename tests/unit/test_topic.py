from __future__ import annotations

import logging
from dataclasses import replace

import gevent
import pytest

from gstream.batch import PARTITION_SHIFT, pack
from gstream.consumer import Consumer
from gstream.counted import pack_counted
from gstream.delays import DELAYED_BYTES
from gstream.errors import BusyError, DiskError, DiskFullError, FullError, UnknownNameError
from gstream.mailbox import Mailbox
from gstream.recent import ID_BYTES, RECENT_SECONDS
from gstream.topic import TopicSettings
from gstream.topic_options import TopicOptions


@pytest.fixture
def topic(server):
    return server.topic


def bodies_of(group):
    bodies = []
    while batch := group.take(1000, 1 << 20):
        bodies += batch.bodies()
    return bodies


def id_of(partition, offset):
    return partition << PARTITION_SHIFT | offset


def lease(server, group, count=1):
    """A consumer that has leased the next messages."""
    consumer = Consumer(server.memory)
    group.lease(consumer, group.take(count, 1 << 20))
    return consumer


# --- publishing


def test_bodies_that_lines_can_carry_are_lines(topic):
    assert topic.publish_bodies([b"a", b"\r\0"]) == (2, 0)
    assert topic.publish_bodies([b"a\nb", b"c"]) == (2, 2)
    assert topic.publish_bodies([b"d"], key=b"k") == (1, 4)
    batches = list(iter(lambda: topic.group().take(10, 1000), None))
    assert [(batch.count, batch.is_lines) for batch in batches] == [(2, True), (3, False)]
    messages = [message for batch in batches for message in batch.messages()]
    assert [message.body for message in messages] == [b"a", b"\r\0", b"a\nb", b"c", b"d"]
    assert [message.key for message in messages] == [None, None, None, None, b"k"]
    assert [message.offset for message in messages] == [0, 1, 2, 3, 4]


def test_times_are_those_of_the_publishing(server, topic):
    for body in (b"a", b"b", b"c"):
        topic.publish_bodies([body])
        server.time.now += 1
    (batch,) = iter(lambda: topic.group().take(10, 1000), None)
    assert [message.time_ms for message in batch.messages()] == [1_000_000_500, 1_000_001_500, 1_000_002_500]


def test_partitions_take_turns(make_server):
    topic = make_server(partitions=3).topic
    for body in (b"a", b"b", b"c", b"d"):
        topic.publish(pack(body), 1)
    assert [log.end_offset for log in topic.partitions] == [2, 1, 1]
    assert topic.publish_bodies([b"e"]) == (1, id_of(1, 1))
    assert topic.message_count == 5


def test_a_key_lies_in_the_partition_that_kafka_chooses(make_server):
    topic = make_server(partitions=10).topic
    expected = {b"21": (-973932308 & 0x7FFFFFFF) % 10, b"abc": 479470107 % 10, b"": 275646681 % 10}
    for key, partition in expected.items():
        assert [topic.publish_bodies([b"x"], key)[1] >> PARTITION_SHIFT for _ in range(3)] == [partition] * 3


def test_of_what_does_not_fit_the_first_ones_are_stored(make_server):
    topic = make_server(max_memory_bytes=10).topic
    assert topic.publish_bodies([b"abc", b"def", b"g"]) == (2, 0)
    assert topic.publish_bodies([b"a\nb"]) == (0, 2)
    assert topic.published_count == 2


# --- once, and later


def test_an_id_is_published_once(server, topic):
    assert topic.publish_once(b"a", None, 0.0, b"1") == 0
    assert topic.publish_once(b"b", None, 0.0, b"2") == 1
    assert topic.publish_once(b"other", b"key", 5.0, b"1") == 0
    assert topic.message_count == 2
    assert server.memory.held_bytes == 2 * (ID_BYTES + 1)
    server.time.sleep(RECENT_SECONDS)
    assert server.memory.held_bytes == 0, "nobody has to come for ids to be forgotten"
    assert topic.publish_once(b"c", None, 0.0, b"1") == 2


def test_what_was_refused_is_not_known_by_its_id(make_server):
    server = make_server(max_memory_bytes=300)
    with pytest.raises(FullError):
        server.topic.publish_once(bytes(299), None, 0.0, b"1")
    with pytest.raises(FullError):
        server.topic.publish_once(bytes(299), None, 1.0, b"1")
    assert server.memory.held_bytes == 0
    assert server.topic.publish_once(b"a", None, 0.0, b"1") == 0


def test_a_delayed_message_has_its_place_when_its_time_comes(server, topic):
    assert topic.publish_once(b"later", None, 5.0, None) is None
    assert topic.publish_once(b"sooner", None, 2.0, None) is None
    assert topic.publish_once(b"now", None, 0.0, None) == 0
    assert (topic.message_count, topic.delayed_count, topic.unfinished_count) == (1, 2, 3)
    assert server.memory.held_bytes == len(b"plater\n" + b"psooner\n") + 2 * DELAYED_BYTES
    server.time.sleep(1.9)
    assert topic.message_count == 1
    server.time.sleep(0.1)
    server.time.sleep(10)
    assert (topic.delayed_count, server.memory.held_bytes) == (0, 0)
    assert server.left() == [b"now", b"sooner", b"later"]


def test_those_of_one_time_are_published_in_their_order(server, topic):
    for number in range(2500):
        topic.publish_once(b"%d" % number, None, 1.0, None)
    server.time.sleep(1)
    assert server.left() == [b"%d" % number for number in range(2500)]


def test_a_delayed_message_with_an_id(server, topic):
    assert topic.publish_once(b"a", None, 5.0, b"1") is None
    assert topic.publish_once(b"b", None, 0.0, b"1") is None
    server.time.sleep(5)
    assert topic.publish_once(b"c", None, 0.0, b"1") == 0
    assert server.left() == [b"a"]


def test_a_delayed_message_wakes_who_waits(server, topic):
    mailbox = Mailbox()
    topic.group().waiting[mailbox] = 1
    topic.publish_once(b"a\n", b"k", 5.0, None)
    assert mailbox.empty()
    server.time.sleep(5)
    (message,) = mailbox.get().messages()
    assert (message.body, message.key) == (b"a\n", b"k")


def test_a_delayed_message_is_not_lost_when_leases_have_taken_its_room(make_server):
    server = make_server(max_memory_bytes=400)
    topic = server.topic
    topic.publish_once(bytes(10), None, 5.0, None)
    topic.publish(pack(bytes(148)), 1)
    for name in ("a", "b", "c"):
        lease(server, topic.group(name))
    assert server.memory.held_bytes > server.memory.max_bytes
    server.time.sleep(5)
    assert [bodies_of(topic.group(name)) for name in ("a", "b", "c")] == [[bytes(10)]] * 3
    assert server.memory.max_bytes == 400


def test_delays_have_the_same_limit_as_messages(make_server):
    server = make_server(max_memory_bytes=3 * (DELAYED_BYTES + 3))
    for _ in range(3):
        server.topic.publish_once(b"a", None, 1e9, None)
    with pytest.raises(FullError):
        server.topic.publish_once(b"a", None, 1e9, None)
    assert server.topic.publish(pack(b""), 1) == 0


# --- groups


def test_every_group_gets_every_message_from_the_oldest_that_is_kept(server, topic):
    topic.publish(pack(b"a"), 1)
    one = topic.group("one")
    topic.publish(pack(b"b"), 1)
    two = topic.group("two")
    assert bodies_of(one) == bodies_of(two) == [b"a", b"b"]
    assert topic.group("one") is one
    assert list(topic.groups) == ["one", "two"]
    assert server.memory.used_bytes == 0


def test_no_more_groups_of_all_topics_than_allowed(make_server):
    server = make_server(max_groups=2)
    topic = server.topic
    one = topic.group("one")
    server.broker.topic("other").group("one")
    with pytest.raises(FullError, match=r"^there are 2 groups, the server's --max-groups$"):
        topic.group("three")
    assert topic.group("one") is one
    assert list(topic.groups) == ["one"]
    topic.forget_group("one")
    topic.group("three")


def test_a_forgotten_group_keeps_nothing_and_begins_anew(make_server):
    server = make_server(retain_bytes=1000)
    topic = server.topic
    slow = topic.group("slow")
    topic.publish(pack(b"a", b"b"), 2)
    assert bodies_of(topic.group("fast")) == [b"a", b"b"]
    assert server.memory.used_bytes == 6
    topic.forget_group("slow")
    assert server.memory.used_bytes == 0
    assert slow.removed
    assert slow.take(1, 0) is None
    assert topic.group("slow").backlog == 2
    with pytest.raises(UnknownNameError, match=r"^no such group$"):
        topic.forget_group("none")


def test_a_group_with_consumers_is_not_forgotten(server, topic):
    group = topic.group("g")
    topic.publish(pack(b"a"), 1)
    consumer = lease(server, group)
    with pytest.raises(BusyError, match=r"^the group has consumers$"):
        topic.forget_group("g")
    group.acknowledge(consumer, [0])
    mailbox = Mailbox()
    group.waiting[mailbox] = 1
    with pytest.raises(BusyError):
        topic.forget_group("g")
    topic.publish(pack(b"b"), 1)
    assert not group.waiting
    with pytest.raises(BusyError):  # its message is in the mailbox
        topic.forget_group("g")
    group.stop_waiting(mailbox)
    topic.forget_group("g")
    assert server.memory.held_bytes == 0


# --- dead letters


def test_a_dead_letter_keeps_its_body_and_key_and_says_what_happened(make_server, caplog):
    caplog.set_level(logging.WARNING, "gstream")
    server = make_server(partitions=2)
    topic = server.topic
    key = b"k"
    _, id = topic.publish_bodies([b"a\nb"], key)
    group = topic.group("workers")
    consumer = lease(server, group)
    assert group.bury(consumer, id, "no \u00fcmlaut")
    dead = server.broker.find("default.dlq")
    (message,) = dead.group().take(1, 0).messages()
    assert (message.body, message.key) == (b"a\nb", key)
    assert message.headers == (
        ("dead.reason", "no \u00fcmlaut".encode()),
        ("dead.topic", b"default"),
        ("dead.id", b"%d:%d" % (id >> PARTITION_SHIFT, 0)),
        ("dead.group", b"workers"),
        ("dead.attempts", b"1"),
    )
    assert (group.dead_count, group.leased_count, server.memory.held_bytes) == (1, 0, 0)
    (record,) = caplog.records
    assert (record.topic, record.messages, record.last_reason) == ("default", 1, "no \u00fcmlaut")


def test_many_that_die_are_told_of_once_a_second(make_server, caplog):
    caplog.set_level(logging.WARNING, "gstream")
    server = make_server()
    topic = server.topic
    group = topic.group()
    consumer = Consumer(server.memory)
    ids = [topic.publish_bodies([b"x"])[1] for _ in range(5)]
    group.lease(consumer, group.take(5, 100))
    for id in ids[:3]:
        group.bury(consumer, id, "first")
    server.time.sleep(1.0)
    server.time.sleep(1.0)
    for id in ids[3:]:
        group.bury(consumer, id, "second")
    server.time.sleep(100.0)
    told = [(record.messages, record.last_reason) for record in caplog.records]
    assert told == [(1, "first"), (2, "first"), (1, "second"), (1, "second")]


def test_a_message_dies_of_too_many_attempts(make_server):
    server = make_server(max_attempts=2, lease_seconds=1.0)
    topic = server.topic
    topic.publish(pack(b"a", b"b"), 2)
    group = topic.group()
    lease(server, group, 2)
    server.time.sleep(1.2)
    assert group.backlog == 2
    lease(server, group, 2)
    server.time.sleep(1.2)
    assert (group.backlog, group.dead_count) == (0, 2)
    (batch,) = iter(lambda: server.broker.find("default.dlq").group().take(10, 1 << 20), None)
    facts = [(message.body, *(value for _, value in message.headers)) for message in batch.messages()]
    why = b"its lease ended, after 2 attempts"
    assert facts == [
        (b"a", why, b"default", b"0", b"default", b"2"),
        (b"b", why, b"default", b"1", b"default", b"2"),
    ]


def test_headers_of_an_earlier_death_are_replaced(server, topic):
    other = server.broker.topic("other.dlq")
    headers = [("dead.reason", b"old"), ("h", b"kept")]
    topic.take_in(pack_counted(b"a", None, headers), None)
    group = topic.group()
    group.bury(lease(server, group), 0, "new")
    (message,) = server.broker.find("default.dlq").group().take(1, 0).messages()
    assert message.headers[:2] == (("h", b"kept"), ("dead.reason", b"new"))
    assert other.message_count == 0


def test_dead_letters_are_stored_whether_there_is_room_or_not(make_server):
    server = make_server(max_memory_bytes=10)
    topic = server.topic
    topic.publish(pack(bytes(8)), 1)
    group = topic.group()
    assert group.bury(lease(server, group), 0, "x" * 1000)
    assert server.broker.find("default.dlq").message_count == 1
    assert server.memory.max_bytes == 10
    assert topic.publish(pack(b""), 1) == 0


# --- looking


def test_looking_makes_no_group(server, topic):
    topic.publish(pack(b"a", b"b", b"c"), 3)
    (batch,) = topic.peek("none", 2, 1000)
    assert (batch.bodies(), batch.attempt) == ([b"a", b"b"], 1)
    assert topic.groups == {}
    topic.group("g").take(1, 0)
    used = server.memory.used_bytes
    (batch,) = topic.peek("g", 5, 1000)
    assert batch.bodies() == [b"b", b"c"]
    assert server.memory.used_bytes == used


def test_looking_at_partitions_one_after_the_other(make_server):
    topic = make_server(partitions=2).topic
    for number in range(6):
        topic.publish(pack(b"%d" % number), 1)
    for name in ("none", "g"):
        seen = [body for batch in topic.peek(name, 4, 1000) for body in batch.bodies()]
        assert seen == [b"0", b"2", b"4", b"1"]
        topic.group("g")


def test_counts(server, topic):
    topic.publish(pack(b"a", b"bb"), 2)
    assert (topic.message_count, topic.kept_bytes, topic.published_count, topic.unfinished_count) == (2, 7, 2, 2)
    server.left()
    assert (topic.message_count, topic.published_count, topic.unfinished_count) == (2, 2, 0)


# --- stored on disk, and remembered


FULL = DiskFullError("/data: No space left on device")


@pytest.fixture
def kept(make_server):
    """A server whose engine remembers; messages are stored when the test says so."""
    server = make_server(kept=True)
    server.topic.partitions[0].waits = True
    return server


def test_in_memory_everything_is_stored_at_once(topic):
    topic.publish(pack(b"a"), 1)
    topic.publish_once(b"b", None, 0.0, b"1")
    topic.publish_once(b"c", None, 1.0, b"2")
    assert topic.commit is None


def test_nobody_gets_a_message_before_it_is_stored(kept):
    topic = kept.topic
    mailbox = Mailbox()
    topic.group().waiting[mailbox] = 1
    assert topic.publish(pack(b"a"), 1) == 1
    commit = topic.commit
    assert (commit.is_done, mailbox.empty(), topic.message_count, topic.published_count) == (False, True, 0, 0)
    topic.partitions[0].write()
    assert (commit.is_done, commit.error, topic.message_count, topic.published_count) == (True, None, 1, 1)
    assert mailbox.get_nowait().bodies() == [b"a"]


def test_what_is_published_together_is_stored_together(kept):
    topic = kept.topic
    commits = []
    for number in range(3):
        assert topic.publish_bodies([b"%d" % number]) == (1, number)
        commits.append(topic.commit)
    assert len(set(commits)) == 1
    topic.partitions[0].write()
    topic.publish(pack(b"3"), 1)
    assert topic.commit is not commits[0]


def test_ids_of_what_was_not_stored_are_given_to_others(kept):
    topic = kept.topic
    assert topic.publish_bodies([b"a", b"b"]) == (2, 0)
    commit = topic.commit
    topic.partitions[0].write(FULL)
    assert commit.error is FULL
    assert (topic.message_count, topic.published_count) == (0, 0)
    assert topic.publish_bodies([b"c"]) == (1, 0)
    topic.partitions[0].write()
    assert bodies_of(topic.group()) == [b"c"]


def test_an_id_that_comes_again_waits_for_the_same(kept):
    topic = kept.topic
    topic.publish_once(b"a", None, 0.0, b"1")
    commit = topic.commit
    topic.publish_once(b"b", None, 0.0, b"2")
    topic.partitions[0].write()
    assert not commit.is_done, "its id is not kept yet"
    kept.memory.state.save()
    topic.publish_once(b"c", None, 0.0, b"3")
    assert topic.publish_once(b"a", None, 0.0, b"1") == 0
    assert topic.commit is None, "it is stored already"
    topic.publish_once(b"c", None, 0.0, b"3")
    assert topic.commit not in (None, commit)
    assert not topic.commit.is_done


def test_an_id_whose_message_was_not_stored_can_come_again(kept):
    topic = kept.topic
    for error in (FULL, None):
        assert topic.publish_once(b"a", None, 0.0, b"1") == 0
        topic.publish_once(b"a", None, 0.0, b"1")
        topic.partitions[0].write(error)
        kept.memory.state.save()
    assert bodies_of(topic.group()) == [b"a"]
    topic.publish_once(b"a", None, 0.0, b"1")
    assert (topic.commit, topic.message_count) == (None, 1)


def test_an_id_is_not_kept_before_its_message_is_stored(kept):
    """Else it would be there after a crash, with an offset that another message has by then."""
    topic, state = kept.topic, kept.memory.state
    topic.publish_once(b"a", None, 0.0, b"1")
    commit = topic.commit
    state.save()
    assert state.saved.recent == {}
    topic.partitions[0].write(FULL)
    gevent.idle()
    assert commit.error is FULL
    assert not state.changes.recent
    topic.publish(pack(b"b"), 1)
    topic.partitions[0].write()
    state.save()
    kept.restart()
    assert kept.topic.publish_once(b"a", None, 0.0, b"1") == 1


def test_while_nothing_can_be_kept_what_would_have_to_be_is_refused(kept):
    topic, state = kept.topic, kept.memory.state
    topic.publish_once(b"a", None, 0.0, b"1")
    state.refusal = DiskError("full")
    for seconds, id in ((5.0, None), (0.0, b"2"), (5.0, b"2")):
        with pytest.raises(DiskError):
            topic.publish_once(b"b", None, seconds, id)
    assert topic.publish_once(b"a", None, 0.0, b"1") == 0, "it is known already"
    assert (topic.delayed_count, topic.partitions[0].next_offset) == (0, 1)


def test_an_id_of_a_delayed_message_that_was_not_kept_can_come_again(kept):
    topic, state = kept.topic, kept.memory.state
    for error in (FULL, None):
        assert topic.publish_once(b"a", None, 5.0, b"1") is None
        commit = topic.commit
        assert topic.publish_once(b"a", None, 5.0, b"1") is None
        assert topic.commit is commit
        assert topic.delayed_count == 1
        state.save(error)
        assert commit.error is error
    assert topic.delayed_count == 1
    assert list(state.saved.recent) == [("default", b"1")]
    topic.publish_once(b"a", None, 5.0, b"1")
    assert (topic.commit, topic.delayed_count) == (None, 1)


def test_ids_are_known_after_a_restart(kept):
    kept.topic.publish_once(b"a", None, 0.0, b"1")
    kept.topic.publish_once(b"b", None, 100.0, b"2")
    kept.topic.partitions[0].write()
    kept.memory.state.save()
    kept.time.now += 50
    kept.restart()
    topic = kept.topic
    assert topic.publish_once(b"x", None, 0.0, b"1") == 0
    assert topic.publish_once(b"x", None, 0.0, b"2") is None
    assert (topic.message_count, topic.delayed_count) == (1, 1)
    kept.time.sleep(50)
    assert topic.publish_once(b"x", None, 0.0, b"2") is None, "it is not stored yet"
    topic.partitions[0].write()
    gevent.sleep(0)  # the hub tells those who follow
    assert topic.publish_once(b"x", None, 0.0, b"2") == 1
    kept.time.sleep(RECENT_SECONDS - 100)
    assert topic.publish_once(b"new", None, 0.0, b"1") == 2, "its time began when it came first"
    assert bodies_of(topic.group()) == [b"a", b"b", b"new"]


def test_an_id_of_a_message_that_was_lost_is_not_known(kept):
    """A loss of power may take a message, and leave its id; another message will be in its place."""
    topic = kept.topic
    for number in range(3):
        topic.publish_once(b"%d" % number, None, 0.0, b"%d" % number)
    topic.partitions[0].write()
    kept.memory.state.save()
    kept.restart({("default", 0): 1})
    kept.memory.state.save()
    assert list(kept.memory.state.saved.recent) == [("default", b"0")]
    kept.topic.publish(pack(b"a", b"b", b"c"), 3)
    kept.memory.state.save()
    kept.restart()
    topic = kept.topic
    assert topic.publish_once(b"0", None, 0.0, b"0") == 0
    assert topic.publish_once(b"1", None, 0.0, b"1") == 4
    assert bodies_of(topic.group()) == [b"0", b"a", b"b", b"c", b"1"]


def test_delayed_messages_are_there_after_a_restart(kept):
    kept.topic.publish_once(b"a\n", b"key", 10.0, None)
    kept.topic.publish_once(b"b", None, 5.0, None)
    kept.memory.state.save()
    kept.time.now += 7
    kept.restart()
    assert kept.topic.delayed_count == 2
    kept.time.run()
    assert kept.left() == [b"b"]
    kept.time.sleep(3)
    assert kept.left() == [b"a\n"]
    kept.memory.state.save()
    assert kept.memory.state.saved.delayed == {}


def test_a_delayed_message_is_remembered_until_it_is_stored(kept):
    topic = kept.topic
    topic.publish_once(b"a", None, 5.0, b"1")
    kept.memory.state.save()
    kept.time.sleep(5)
    assert (topic.message_count, topic.delayed_count) == (0, 1)
    topic.partitions[0].write(FULL)
    assert topic.delayed_count == 1
    kept.time.sleep(10)
    topic.partitions[0].write()
    assert (topic.message_count, topic.delayed_count) == (1, 0)
    assert topic.publish_once(b"a", None, 5.0, b"1") == 0


def test_groups_are_there_after_a_restart(kept):
    topic = kept.topic
    for name in ("one", "two", "three"):
        topic.group(name)
    topic.publish(pack(b"a", b"b"), 2)
    topic.partitions[0].write()
    group = topic.group("two")
    group.done(group.take(1, 0))
    topic.forget_group("three")
    kept.memory.state.save()
    kept.restart()
    assert list(kept.topic.groups) == ["one", "two"]
    assert [kept.topic.groups[name].backlog for name in ("one", "two")] == [2, 1]


def test_a_group_that_is_made_anew_has_forgotten_everything(kept):
    topic = kept.topic
    topic.publish(pack(b"a", b"b"), 2)
    topic.partitions[0].write()
    group = topic.group("g")
    group.done(group.take(2, 100))
    kept.memory.state.save()
    topic.forget_group("g")
    assert topic.group("g").backlog == 2
    kept.memory.state.save()
    kept.restart()
    assert kept.topic.groups["g"].backlog == 2


def test_dead_letters_are_stored_before_a_message_is_done(kept):
    topic = kept.topic
    topic.publish(pack(b"a"), 1)
    topic.partitions[0].write()
    dead = kept.broker.topic("default.dlq")
    dead.partitions[0].waits = True
    group = topic.group()
    consumer = lease(kept, group)
    group.bury(consumer, 0, "why")
    assert group.commit is dead.commit
    kept.memory.state.save()
    assert kept.memory.state.saved.chunks["default", "default", 0, 0][0] == 1
    dead.partitions[0].write()
    kept.memory.state.save()
    assert kept.memory.state.saved.lows["default", "default", 0] == 1


def test_many_dead_letters_are_stored_when_all_of_them_are(make_server):
    server = make_server(kept=True, partitions=2)
    topic = server.topic
    for body in (b"a", b"b", b"c", b"d"):
        topic.publish_bodies([body])
    dead = server.broker.topic("default.dlq")
    for log in dead.partitions:
        log.waits = True
    group = topic.group()
    consumer = Consumer(server.memory)
    while batch := group.take(10, 1000):
        group.lease(consumer, batch)
    for id in (id_of(0, 0), id_of(0, 1), id_of(1, 0), id_of(1, 1)):
        group.bury(consumer, id, "why")
    assert not group.commit.is_done
    for log in dead.partitions:
        log.write()
    assert group.commit.is_done
    server.memory.state.save()
    server.restart()
    assert (server.topic.groups["default"].backlog, server.broker.find("default.dlq").message_count) == (0, 4)


def test_partitions_and_limits_are_there_after_a_restart(make_server):
    server = make_server(kept=True, partitions=3)
    server.topic.change(1000, 60.0)
    server.topic.group()
    server.memory.state.save()
    assert server.memory.state.saved.topics["default"].partitions == 3
    server.limits = (TopicSettings(partitions=1), 100, 100)
    server.restart()
    assert len(server.broker.find("default").partitions) == 3
    assert (server.topic.retain_bytes, server.topic.retain_seconds) == (1000, 60.0)


def test_a_delayed_message_whose_time_was_over_keeps_its_order(kept):
    for number, seconds in enumerate((3.0, 1.0, 2.0)):
        kept.topic.publish_once(b"%d" % number, None, seconds, None)
    kept.memory.state.save()
    kept.time.now += 100
    kept.restart()
    kept.time.run()
    assert kept.left() == [b"1", b"2", b"0"]


# --- what Kafka's clients set


def test_options_are_kept_and_go_with_the_topic(make_server):
    server = make_server(kept=True)
    assert server.topic.options == TopicOptions()
    notes = server.memory.state.notes
    server.topic.set_options(TopicOptions())
    assert server.memory.state.notes == notes, "nothing has changed"
    options = TopicOptions(max_message_bytes=5, segment_bytes=4096, append_time=True)
    server.topic.set_options(options)
    assert server.topic.keep() is server.memory.state.next
    server.memory.state.save()
    server.restart()
    assert server.topic.options == options
    server.topic.make_log()
    assert server.topic.options == replace(options, is_log=True)
    server.memory.state.save()
    server.restart()
    assert server.topic.options.is_log
    notes = server.memory.state.notes
    assert server.topic.make_log() is None, "it is on disk"
    assert server.memory.state.notes == notes


def test_it_is_told_when_it_is_kept_that_a_topic_is_a_log(make_server):
    server = make_server(kept=True)
    state = server.memory.state
    kept = server.topic.make_log()
    assert kept is not None
    assert kept is state.next
    assert server.topic.make_log() is kept, "not yet"
    state.save(DiskError("no"))
    again = server.topic.make_log()
    assert again is not None
    assert again is not kept
    state.save()
    assert server.topic.make_log() is None


def test_a_topic_that_becomes_a_log_keeps_what_is_taken_from_then_on(make_server):
    server = make_server(retain_bytes=0)
    other = server.broker.topic("other")
    for topic in (server.topic, other):
        topic.publish_bodies([bytes(20_000)])
        assert len(bodies_of(topic.group())) == 1
        topic.publish_bodies([bytes(20_000)])
        assert topic.message_count == 1
    server.topic.make_log()
    for topic in (server.topic, other):
        assert len(bodies_of(topic.group())) == 1
        topic.publish_bodies([bytes(20_000)])
        assert len(bodies_of(topic.group())) == 1
        topic.publish_bodies([b"a"])
    assert (server.topic.message_count, other.message_count) == (3, 1)
    assert [batch.count for batch in server.topic.peek("new", 10)] == [1, 1, 1]


def test_limits_hold_in_memory_too(make_server):
    server = make_server(retain_bytes=1 << 30)
    group = server.topic.group()
    server.topic.change(retain_bytes=100_000)
    for number in range(20):
        server.topic.publish_bodies([b"%d:" % number + bytes(20_000)])
    assert server.topic.kept_bytes < 125_000
    assert bodies_of(group)[0].startswith(b"15:")


# --- more partitions


@pytest.fixture(params=["memory", "kept"])
def growing(request, make_server):
    return make_server(kept=request.param == "kept")


def test_partitions_are_added_and_every_group_has_its_share(growing):
    topic = growing.topic
    ahead, behind = topic.group("ahead"), topic.group("behind")
    topic.publish(pack(b"a", b"b"), 2)
    assert bodies_of(ahead) == [b"a", b"b"]
    behind.take(1, 0)
    mailbox = Mailbox()
    ahead.waiting[mailbox] = 10
    topic.add_partitions(2)
    assert (len(topic.partitions), topic.several, topic.settings.partitions) == (3, True, 3)
    assert [log.partition for log in topic.partitions] == [0, 1, 2]
    assert (ahead.partition_count, behind.partition_count, growing.broker.partition_count) == (3, 3, 3)
    ids = [topic.publish_bodies([b"%d" % number])[1] for number in range(3)]
    assert sorted(ids) == [id_of(0, 2), id_of(1, 0), id_of(2, 0)]
    (batch,) = [mailbox.get_nowait()]
    assert batch.bodies() == [b"0"]
    assert sorted(bodies_of(ahead)) == [b"1", b"2"]
    assert sorted(bodies_of(behind)) == [b"0", b"1", b"2", b"b"]
    assert sorted(bodies_of(topic.group("new"))) == [b"0", b"1", b"2", b"a", b"b"]
    assert (topic.published_count, topic.message_count) == (5, 5)
    assert [place >> PARTITION_SHIFT for place in ahead.seek(lambda log: log.oldest_offset)] == [0, 1, 2]


def test_leases_go_on_when_partitions_are_added(growing):
    topic = growing.topic
    group = topic.group()
    topic.publish(pack(b"a", b"b"), 2)
    consumer = lease(growing, group, 2)
    topic.add_partitions(1)
    for number in range(2):
        topic.publish_bodies([b"%d" % number])
    other = lease(growing, group, 1)
    group.lease(other, group.take(1, 0))
    (id,) = [id for id in (id_of(1, 0),) if other.find(id) is not None]
    assert group.return_lease(other, id, 5.0)
    assert group.acknowledge(consumer, [id_of(0, 0)]) == []
    growing.time.sleep(60)
    taken = [(batch.partition, batch.offset, batch.attempt) for batch in iter(lambda: group.take(1, 0), None)]
    assert sorted(taken) == [(0, 1, 2), (0, 2, 2), (1, 0, 2)]


def test_partitions_that_were_added_are_there_after_a_restart(make_server):
    server = make_server(kept=True)
    server.topic.group()
    server.topic.add_partitions(2)
    for number in range(6):
        server.topic.publish_bodies([b"%d" % number])
    for _ in range(4):
        server.topic.group().done(server.topic.group().take(1, 0))
    server.memory.state.save()
    assert server.memory.state.saved.topics["default"].partitions == 3
    server.restart()
    assert [len(server.topic.partitions), server.topic.several, server.broker.partition_count] == [3, True, 3]
    assert sorted(bodies_of(server.topic.group())) == [b"4", b"5"]


def test_too_many_partitions_are_not_added(make_server):
    server = make_server(max_topics=3, max_groups=4)
    topic = server.topic
    topic.group("a")
    topic.group("b")
    with pytest.raises(FullError, match=r"^it counts as 3 topics, and there are 1; --max-topics is 3$"):
        topic.add_partitions(3)
    with pytest.raises(FullError, match=r"^it counts as 4 groups, and there are 2; --max-groups is 4$"):
        topic.add_partitions(2)
    assert (len(topic.partitions), topic.several, server.broker.partition_count) == (1, False, 1)
    topic.add_partitions(1)
    with pytest.raises(FullError, match=r"^it counts as 2 groups, and there are 4; --max-groups is 4$"):
        topic.group("c")
    server.broker.remove("default")
    assert server.broker.partition_count == 0
