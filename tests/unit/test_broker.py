from __future__ import annotations

import pytest

from gstream.batch import pack
from gstream.broker import DEFAULT_TOPIC, Broker
from gstream.consumer import Consumer
from gstream.errors import FullError, UnknownNameError
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


def lease(broker, group):
    """Lease the next message, and give it back."""
    consumer = Consumer(broker.engine)
    batch = group.take(1, 0)
    group.lease(consumer, batch)
    assert group.return_lease(consumer, batch.id, 0)


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
