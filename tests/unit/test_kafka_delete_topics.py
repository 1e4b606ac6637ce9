import uuid

import pytest

from gstream.consumer import Consumer
from gstream.kafka import delete_topics
from gstream.kafka.codes import Code
from tests.unit.admin_ground import answers, ask, make_node

State = delete_topics.API.request.DeleteTopicState


@pytest.fixture
def node():
    node = make_node()
    node.broker.topic("orders").publish(b"x\n", 1)
    node.broker.topic("other")
    return node


def delete(node, *names, version=None):
    version = delete_topics.API.versions[-1] if version is None else version
    if version >= 6:
        return ask(node, delete_topics.API, version, topics=[State(name=name) for name in names]).responses
    return ask(node, delete_topics.API, version, topic_names=list(names)).responses


@pytest.mark.parametrize("version", delete_topics.API.versions)
def test_a_topic_is_removed(node, version):
    rows = delete(node, "orders", "nothing", version=version)
    assert answers(rows) == {"orders": Code.NONE, "nothing": Code.UNKNOWN_TOPIC_OR_PARTITION}
    assert set(node.broker.topics) == {"other"}


def test_by_its_id(node):
    topic_id = node.topic_id(node.broker.topics["orders"])
    states = [State(name=None, topic_id=topic_id), State(name=None, topic_id=uuid.UUID(int=7))]
    known, unknown = ask(node, delete_topics.API, topics=states).responses
    assert (known.name, known.topic_id, known.error_code) == ("orders", topic_id, Code.NONE)
    assert (unknown.name, unknown.topic_id, unknown.error_code) == (None, uuid.UUID(int=7), Code.UNKNOWN_TOPIC_ID)
    assert set(node.broker.topics) == {"other"}


def test_a_new_topic_of_that_name_has_another_id(node):
    topic_id = node.topic_id(node.broker.topics["orders"])
    delete(node, "orders")
    assert node.topic_id(node.broker.topic("orders")) != topic_id


@pytest.mark.parametrize("state", [State(name=None), State(name="orders", topic_id=uuid.UUID(int=7))])
def test_either_a_name_or_an_id(node, state):
    (row,) = ask(node, delete_topics.API, topics=[state]).responses
    assert row.error_code == Code.INVALID_REQUEST
    assert len(node.broker.topics) == 2


def test_a_topic_that_is_named_twice_stays(node):
    rows = delete(node, "orders", "other", "orders")
    assert answers(rows) == {"orders": Code.INVALID_REQUEST, "other": Code.NONE}
    assert set(node.broker.topics) == {"orders"}


def test_a_topic_with_consumers_stays(node):
    topic = node.broker.topics["orders"]
    consumer = Consumer(node.engine)
    topic.group().lease(consumer, topic.group().take(1, 0))
    (row,) = delete(node, "orders")
    assert (row.error_code, "consumers" in row.error_message) == (Code.POLICY_VIOLATION, True)
    topic.group().leave(consumer)
    assert answers(delete(node, "orders")) == {"orders": Code.NONE}


def test_a_name_that_cannot_be_is_told_apart(node):
    assert answers(delete(node, "a b")) == {"a b": Code.INVALID_TOPIC_EXCEPTION}
