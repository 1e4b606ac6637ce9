import pytest

from gstream.consumer import Consumer
from gstream.kafka import line_groups
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.group import State
from gstream.kafka.line_groups import LineGroup
from tests.unit.groups_ground import make_node


@pytest.fixture
def broker(time):
    return make_node(time).broker


def refusal(broker, name):
    with pytest.raises(KafkaError) as caught:
        line_groups.remove(broker, name)
    return caught.value.code


def lows(broker, name):
    return dict(line_groups.offsets(broker, name))


def lease(group, budget, count=1):
    """A consumer that has leased the next messages."""
    consumer = Consumer(budget)
    group.lease(consumer, group.take(count, 1 << 20))
    return consumer


def test_there_is_none(broker):
    assert not line_groups.exists(broker, "workers")
    assert line_groups.find(broker, "workers") is None
    assert line_groups.all_of(broker) == []
    assert lows(broker, "workers") == {}
    assert refusal(broker, "workers") is Code.GROUP_ID_NOT_FOUND


def test_those_of_a_name_are_one(broker):
    broker.topic("orders").group("workers")
    broker.topic("mails").group("workers")
    broker.topic("mails").group("others")
    assert line_groups.exists(broker, "workers")
    assert line_groups.find(broker, "workers") == LineGroup("workers", {"orders": 0, "mails": 0})
    assert {group.name: group.consumers for group in line_groups.all_of(broker)} == {
        "workers": {"orders": 0, "mails": 0},
        "others": {"mails": 0},
    }


def test_its_consumers(broker):
    topic = broker.topic("orders")
    topic.publish(b"px\n", 1)
    lease(topic.group("workers"), broker.engine)
    group = line_groups.find(broker, "workers")
    assert (group.state, group.member_ids) == (State.STABLE, ["orders-0"])
    assert LineGroup("others", {"orders": 0}).state is State.EMPTY


def test_how_far_it_is(broker):
    topic = broker.topic("orders")
    group = topic.group("workers")
    for _ in range(6):
        topic.publish(b"px\n", 1)
    assert lows(broker, "workers") == {("orders", 0): 0, ("orders", 1): 0}
    group.done(group.take(1, 1 << 20))
    group.done(group.take(1, 1 << 20))
    group.done(group.take(1, 1 << 20))
    assert sorted(lows(broker, "workers").values()) == [1, 2]


def test_what_is_leased_is_not_done(broker):
    topic = broker.topic("orders")
    group = topic.group("workers")
    topic.publish(b"px\n" * 4, 4)
    first = lease(group, broker.engine)
    group.done(group.take(3, 1 << 20))
    assert set(lows(broker, "workers").values()) == {0}
    group.acknowledge(first, list(first._leases))
    assert sorted(lows(broker, "workers").values()) == [0, 4]


def test_what_was_given_back_is_not_done(broker):
    topic = broker.topic("orders")
    group = topic.group("workers")
    topic.publish(b"px\n" * 4, 4)
    first, second = lease(group, broker.engine), lease(group, broker.engine)
    group.done(group.take(2, 1 << 20))
    (one,), (other,) = first._leases, second._leases
    group.return_lease(first, one, 5.0)
    assert set(lows(broker, "workers").values()) == {0}
    group.return_lease(second, other, 0.0)
    assert set(lows(broker, "workers").values()) == {0}


def test_it_is_removed(broker):
    for name in ("orders", "mails"):
        broker.topic(name).group("workers")
    topic = broker.topic("orders")
    topic.publish(b"px\n", 1)
    group = topic.group("workers")
    consumer = lease(group, broker.engine)
    assert refusal(broker, "workers") is Code.NON_EMPTY_GROUP
    group.acknowledge(consumer, list(consumer._leases))
    group.leave(consumer)
    line_groups.remove(broker, "workers")
    assert not line_groups.exists(broker, "workers")
