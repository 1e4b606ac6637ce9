from __future__ import annotations

import logging

import pytest

from gstream.batch import PARTITION_SHIFT, pack
from gstream.consumer import Consumer
from gstream.counted import pack_counted
from gstream.delays import DELAYED_BYTES
from gstream.errors import BusyError, FullError, UnknownNameError
from gstream.mailbox import Mailbox
from gstream.recent import ID_BYTES, RECENT_SECONDS


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
