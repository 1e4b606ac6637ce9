from __future__ import annotations

import pytest

from gstream.batch import pack
from gstream.broker import DEFAULT_TOPIC, Broker
from gstream.errors import FullError
from gstream.storage.memory import Memory


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
    assert topic.group.backlog == 3
    assert list(topic.group.take(10, 100).bodies()) == [b"a", b"b", b"c"]
    assert topic.group.take(10, 100) is None


def test_topics_have_messages_of_their_own(broker):
    broker.topic("one").publish(pack(b"a"), 1)
    assert broker.topic("two").group.take(1, 100) is None
    assert list(broker.topic("one").group.take(1, 100).bodies()) == [b"a"]


def test_a_topic_that_is_full_stores_the_first_ones_and_counts_only_them(broker):
    topic = broker.topic()
    assert topic.publish(pack(bytes(48), bytes(48), b""), 3) == 2
    assert topic.publish(pack(b""), 1) == 0
    assert topic.published_count == 2
    assert topic.group.backlog == 2


def test_the_refusal_tells_the_limit_and_what_to_do(broker):
    error = broker.topic().full_error()
    assert isinstance(error, FullError)
    assert str(error) == "no room within 100 bytes, the server's --max-memory; consume, or raise it"


def test_all_topics_share_one_budget(broker):
    assert broker.topic("one").publish(pack(bytes(98)), 1) == 1
    assert broker.topic("two").publish(pack(b""), 1) == 0
    broker.topic("one").group.take(1, 0)
    assert broker.topic("two").publish(pack(b""), 1) == 1
