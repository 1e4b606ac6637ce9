from __future__ import annotations

import pytest

from gstream.batch import pack
from gstream.broker import DEFAULT_TOPIC, Broker
from gstream.consumer import Consumer
from gstream.errors import ArgumentError, BusyError, FullError, UnknownNameError
from gstream.mailbox import Mailbox
from gstream.storage.memory import Memory
from gstream.topic import TopicSettings


@pytest.fixture
def broker():
    return Broker(Memory(100))


def test_a_topic_is_made_on_first_use_and_then_stays(broker):
    assert broker.topics == {}
    topic = broker.topic("orders")
    assert topic.name == "orders"
    assert broker.topic("orders") is topic
    assert broker.topic("others") is not topic
    assert list(broker.topics) == ["orders", "others"]


def test_the_default_topic_needs_no_name(broker):
    assert broker.topic() is broker.topic(DEFAULT_TOPIC)


def test_what_is_published_is_taken_in_order(broker):
    topic = broker.topic()
    assert topic.publish(pack(b"a", b"b"), 2) == 2
    assert topic.publish(pack(b"c"), 1) == 1
    assert topic.published_count == 3
    assert topic.group().backlog == 3
    assert topic.group().take(10, 100).bodies() == [b"a", b"b", b"c"]
    assert topic.group().take(10, 100) is None


def test_topics_have_messages_of_their_own(broker):
    broker.topic("one").publish(pack(b"a"), 1)
    assert broker.topic("two").group().take(1, 100) is None
    assert broker.topic("one").group().take(1, 100).bodies() == [b"a"]


def test_a_topic_that_is_full_stores_the_first_ones_and_counts_only_them(broker):
    topic = broker.topic()
    assert topic.publish(pack(bytes(48), bytes(48), b""), 3) == 2
    assert topic.publish(pack(b""), 1) == 0
    assert topic.published_count == 2
    assert topic.group().backlog == 2


def test_the_refusal_tells_the_limit_and_what_to_do(broker):
    error = broker.topic().full_error()
    assert isinstance(error, FullError)
    assert str(error) == "no room within 100 bytes, the server's --max-memory; consume, or raise it"


def test_all_topics_share_one_budget(broker):
    assert broker.topic("one").publish(pack(bytes(98)), 1) == 1
    assert broker.topic("two").publish(pack(b""), 1) == 0
    broker.topic("one").group().take(1, 0)
    assert broker.topic("two").publish(pack(b""), 1) == 1


def test_finding_a_topic_makes_none(broker):
    with pytest.raises(UnknownNameError, match=r"^no such topic$"):
        broker.find("orders")
    assert broker.topics == {}
    assert broker.find(broker.topic("orders").name) is broker.topic("orders")


def test_no_more_topics_than_allowed_and_those_that_are_there_stay():
    broker = Broker(Memory(100), max_topics=2)
    one, two = broker.topic("one"), broker.topic("two")
    with pytest.raises(FullError, match=r"^there are 2 topics, the server's --max-topics$"):
        broker.topic("three")
    assert (broker.topic("one"), broker.topic("two")) == (one, two)
    assert len(broker.topics) == 2


def test_topics_of_dead_letters_are_made_whatever_their_number_is():
    broker = Broker(Memory(1000), settings=TopicSettings(max_attempts=1), max_topics=1)
    topic = broker.topic("one")
    topic.publish(pack(b"a"), 1)
    group = topic.group()
    lease(broker, group)
    assert list(broker.topics) == ["one", "one.dlq"]
    assert broker.topic("one.dlq").group().take(1, 0).bodies() == [b"a"]


def lease(broker, group, seconds=0):
    """Lease the next message, and give it back, to be delivered again after so long."""
    consumer = Consumer(broker.engine)
    batch = group.take(1, 0)
    group.lease(consumer, batch)
    assert group.return_lease(consumer, batch.id, seconds)


def test_dead_letters_have_no_dead_letters():
    broker = Broker(Memory(1000), settings=TopicSettings(max_attempts=1))
    topic = broker.topic("one.dlq")
    assert topic.is_dead_letters
    topic.publish(pack(b"a"), 1)
    for _ in range(10):
        lease(broker, topic.group())
    assert list(broker.topics) == ["one.dlq"]
    assert topic.group().take(1, 0).attempt == 11


def test_settings_are_every_topics():
    broker = Broker(Memory(1000), settings=TopicSettings(partitions=3))
    assert [len(broker.topic(name).partitions) for name in ("one", "two")] == [3, 3]


def test_what_is_unfinished_is_what_the_slowest_group_of_each_topic_has_not_done():
    broker = Broker(Memory(1000))
    assert broker.unfinished_count == 0
    one, two = broker.topic("one"), broker.topic("two")
    one.publish(pack(b"a", b"b", b"c"), 3)
    two.publish(pack(b"d"), 1)
    assert broker.unfinished_count == 4
    one.group("fast").take(3, 100)
    assert broker.unfinished_count == 1
    one.group("slow").take(1, 0)
    assert broker.unfinished_count == 3
    two.publish_once(b"e", None, 10.0, None)
    assert broker.unfinished_count == 4


# --- topics made, changed and removed on purpose


class Limited(Memory):
    """limits: what it was told, the last at the end."""

    def __init__(self, max_bytes):
        super().__init__(max_bytes)
        self.limits = []

    def set_limits(self, topic, limit_bytes, limit_seconds):
        self.limits.append((topic, limit_bytes, limit_seconds))


def test_a_topic_has_the_partitions_that_it_was_made_with():
    broker = Broker(Memory(1000), settings=TopicSettings(partitions=2, lease_seconds=7.0))
    for name, count, made in (("a", 1, 1), ("b", 3, 3), ("c", None, 2)):
        assert len(broker.set_up(name, count).partitions) == made
    assert [topic.several for topic in broker.topics.values()] == [False, True, True]
    assert [topic.settings.partitions for topic in broker.topics.values()] == [1, 3, 2]
    assert {topic.settings.lease_seconds for topic in broker.topics.values()} == {7.0}
    assert len(broker.topic("d").partitions) == 2
    assert broker.partition_count == 8
    assert len(broker.topic("b").group().seek(lambda _log: 0)) == 3


def test_the_number_of_partitions_never_changes(broker):
    topic = broker.set_up("log", 3)
    assert broker.set_up("log") is broker.set_up("log", 3) is topic
    with pytest.raises(ArgumentError, match=r"^the topic has 3 partitions; their number cannot be changed$"):
        broker.set_up("log", 1)
    broker.topic("plain")
    with pytest.raises(ArgumentError, match=r"^the topic has 1 partition; their number cannot be changed$"):
        broker.set_up("plain", 3)


def test_limits_are_kept_shown_and_told_to_the_engine():
    engine = Limited(1000)
    broker = Broker(engine)
    topic = broker.set_up("log", None, 1000, 60.0)
    assert (topic.retain_bytes, topic.retain_seconds) == (1000, 60.0)
    broker.set_up("log")
    broker.set_up("log", 1)
    broker.set_up("log", retain_bytes=0)
    broker.set_up("log", retain_seconds="default")
    assert (topic.retain_bytes, topic.retain_seconds) == (0, None)
    assert engine.limits == [("log", 1000, 60.0), ("log", 0, 60.0), ("log", 0, None)]
    broker.set_up("log", 1, "default", 0.5)
    assert engine.limits[-1] == ("log", None, 0.5)


def test_what_is_refused_changes_nothing():
    engine = Limited(1000)
    broker = Broker(engine, max_topics=2)
    topic = broker.set_up("log", 2, 1000)
    with pytest.raises(ArgumentError):
        broker.set_up("log", 1, 5, 5.0)
    with pytest.raises(FullError):
        broker.set_up("other", 1, 5, 5.0)
    assert (topic.retain_bytes, topic.retain_seconds) == (1000, None)
    assert engine.limits == [("log", 1000, None)]
    assert list(broker.topics) == ["log"]


def test_partitions_count_against_the_number_of_topics():
    broker = Broker(Memory(100), settings=TopicSettings(partitions=2), max_topics=4)
    broker.set_up("five", 5)
    with pytest.raises(FullError, match=r"^it counts as 2 topics, and there are 3; --max-topics is 4$"):
        broker.set_up("four", 4)
    broker.set_up("one", 1)
    broker.topic("two")
    with pytest.raises(FullError, match=r"^there are 4 topics, the server's --max-topics$"):
        broker.topic("three")
    broker.remove("five")
    broker.set_up("four", 4)


def test_partitions_count_against_the_number_of_groups():
    broker = Broker(Memory(100), max_groups=4)
    several, plain = broker.set_up("several", 3), broker.topic("plain")
    several.group("a")
    with pytest.raises(FullError, match=r"^it counts as 3 groups, and there are 3; --max-groups is 4$"):
        several.group("b")
    plain.group("a")
    with pytest.raises(FullError, match=r"^there are 4 groups, the server's --max-groups$"):
        plain.group("b")
    assert (list(several.groups), list(plain.groups)) == (["a"], ["a"])


def test_dead_letters_have_as_many_partitions_as_the_server_says_or_as_they_were_made_with():
    broker = Broker(Memory(1000), settings=TopicSettings(max_attempts=1))
    broker.set_up("two.dlq", 2)
    for name in ("one", "two"):
        topic = broker.set_up(name, 3)
        topic.publish(pack(b"a"), 1)
        lease(broker, topic.group())
    assert {name: len(topic.partitions) for name, topic in broker.topics.items() if topic.is_dead_letters} == {
        "one.dlq": 1,
        "two.dlq": 2,
    }
    (message,) = broker.topic("one.dlq").group().take(1, 1000).messages()
    assert dict(message.headers)["dead.id"] == b"0:0"


def test_a_removed_topic_takes_everything_with_it(time):
    engine = Memory(1 << 24, 1 << 20, time.clock)
    broker = Broker(engine, time.agenda)
    other = broker.topic("other")
    other.publish(pack(b"stays"), 1)
    before = (engine.used_bytes, engine.stored_bytes, engine.held_bytes)
    topic = broker.set_up("log", 3)
    taken, some = topic.group("all"), topic.group("some")
    for number in range(300):
        topic.publish(pack(b"%d" % number, b"x" * 1000), 2)
        topic.publish_bodies([b"a\nb", b"x" * 20_000], b"key%d" % number)
    topic.publish_once(b"once", None, 0.0, b"id")
    topic.publish_once(b"later", b"key", 10.0, b"other id")
    while taken.take(1000, 1 << 20):
        pass
    for at in range(3):
        lease(broker, some, seconds=at * 5.0)
    some.give_back(some.take(100, 1 << 20))
    assert engine.used_bytes > before[0]
    assert engine.held_bytes > before[2]
    broker.remove("log")
    assert (engine.used_bytes, engine.stored_bytes, engine.held_bytes) == before
    assert list(broker.topics) == ["other"]
    assert (topic.removed, taken.removed, some.removed) == (True, True, True)
    assert (some.take(1, 0), broker.partition_count, engine.reclaimable) == (None, 1, {})
    assert time.agenda.run_next() is None, "nothing is left to be done for it"
    assert other.group().take(1, 0).bodies() == [b"stays"]


def test_what_was_removed_is_made_anew(broker):
    old = broker.set_up("log", 3)
    old.publish(pack(b"a"), 1)
    old.group("g")
    broker.remove("log")
    new = broker.topic("log")
    assert (new is old, len(new.partitions), new.message_count, new.groups) == (False, 1, 0, {})


def test_what_was_published_stays_counted(broker):
    for _ in range(3):
        broker.topic("log").publish(pack(b"a", b"b"), 2)
        broker.remove("log")
    broker.topic().publish(pack(b"c"), 1)
    assert broker.published_count == 7


def test_a_topic_with_consumers_is_not_removed(broker):
    with pytest.raises(UnknownNameError, match=r"^no such topic$"):
        broker.remove("log")
    topic = broker.topic("log")
    topic.publish(pack(b"a"), 1)
    topic.group("idle")
    group = topic.group("g")
    consumer = Consumer(broker.engine)
    group.lease(consumer, group.take(1, 0))
    with pytest.raises(BusyError, match=r"^the topic has consumers$"):
        broker.remove("log")
    assert (topic.removed, group.removed, list(topic.groups)) == (False, False, ["idle", "g"])
    group.acknowledge(consumer, [0])
    mailbox = Mailbox()
    group.waiting[mailbox] = 1
    with pytest.raises(BusyError):
        broker.remove("log")
    group.stop_waiting(mailbox)
    broker.remove("log")
    assert broker.topics == {}


def test_dead_letters_stay():
    broker = Broker(Memory(1000), settings=TopicSettings(max_attempts=1))
    topic = broker.topic("one")
    topic.publish(pack(b"a"), 1)
    lease(broker, topic.group())
    broker.remove("one")
    assert list(broker.topics) == ["one.dlq"]
    assert broker.topic("one.dlq").group().take(1, 0).bodies() == [b"a"]
    broker.remove("one.dlq")
    assert (broker.engine.used_bytes, broker.engine.held_bytes, broker.engine.stored_bytes) == (0, 0, 0)


def test_the_engine_looks_for_room_in_no_log_that_was_removed():
    engine = Memory(100, 1000)
    broker = Broker(engine)
    for name in ("a", "b"):
        topic = broker.topic(name)
        topic.publish(pack(b"x" * 30), 1)
        topic.group().take(1, 0)
    broker.remove("a")
    assert broker.topic("b").publish(pack(b"y" * 90), 1) == 1
    assert engine.used_bytes == engine.stored_bytes == 92


def test_what_else_bounds_the_number_of_topics_is_said():
    broker = Broker(Memory(1000), max_topics=1)
    broker.topics_bound = "as many as something allows"
    broker.topic("a")
    with pytest.raises(FullError, match=r"^there are 1 topics, as many as something allows$"):
        broker.topic("b")
    with pytest.raises(FullError, match=r"^it counts as 2 topics, and there are 1; 1 are as many as something allows$"):
        broker.set_up("b", 2)


def test_a_group_that_belongs_to_others_is_not_made(broker):
    asked = []

    def guard(name):
        asked.append(name)
        if name.startswith("kafka"):
            raise BusyError("the group belongs to Kafka clients")

    topic = broker.topic()
    topic.group("kafka 1")
    broker.group_guard = guard
    topic.group("line")
    topic.group("line")
    with pytest.raises(BusyError, match=r"^the group belongs to Kafka clients$"):
        topic.group("kafka 2")
    assert topic.group("kafka 1") is topic.groups["kafka 1"], "it was there before"
    with pytest.raises(BusyError):
        broker.topic("other").group("kafka 1")
    assert asked == ["line", "kafka 2", "kafka 1"]
    assert (list(topic.groups), broker.topic("other").groups) == (["kafka 1", "line"], {})


def test_what_is_kept_of_a_removed_topic_goes(broker):
    for name in ("topic/log/id", "floor/log/3", "topic/logs/id", "cluster"):
        broker.engine.facts.put(name, b"1")
    broker.topic("log").make_log()
    assert broker.engine.facts.get("topic/log/options") is not None
    broker.remove("log")
    assert list(broker.engine.facts.under("")) == ["cluster", "topic/logs/id"]
    assert not broker.topic("log").options.is_log
