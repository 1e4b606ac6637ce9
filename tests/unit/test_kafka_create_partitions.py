import pytest

from gstream.kafka import create_partitions
from gstream.kafka.codes import Code
from tests.unit.admin_ground import answers, ask, make_node

Wanted = create_partitions.API.request.CreatePartitionsTopic
Assignment = Wanted.CreatePartitionsAssignment


@pytest.fixture
def node():
    node = make_node(max_topics=4)
    node.broker.set_up("orders", 2)
    return node


def wanted(name="orders", count=4, assigned=None):
    assignments = None if assigned is None else [Assignment(broker_ids=ids) for ids in assigned]
    return Wanted(name=name, count=count, assignments=assignments)


def add(node, *topics, version=None, validate_only=False):
    return ask(node, create_partitions.API, version, topics=list(topics), validate_only=validate_only).results


@pytest.mark.parametrize("version", create_partitions.API.versions)
def test_partitions_are_added(node, version):
    (row,) = add(node, wanted(), version=version)
    assert (row.name, row.error_code, row.error_message) == ("orders", Code.NONE, None)
    assert len(node.broker.topics["orders"].partitions) == 4


@pytest.mark.parametrize("number", [0, 1])
def test_they_may_be_assigned_to_the_one_server(node, number):
    assert answers(add(node, wanted(assigned=[[number], [number]]))) == {"orders": Code.NONE}
    assert len(node.broker.topics["orders"].partitions) == 4


def test_it_is_only_checked(node):
    assert answers(add(node, wanted(), validate_only=True)) == {"orders": Code.NONE}
    assert len(node.broker.topics["orders"].partitions) == 2


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (wanted("nothing"), Code.UNKNOWN_TOPIC_OR_PARTITION),
        (wanted(count=2), Code.INVALID_PARTITIONS),
        (wanted(count=1), Code.INVALID_PARTITIONS),
        (wanted(count=-1), Code.INVALID_PARTITIONS),
        (wanted(count=1025), Code.POLICY_VIOLATION),
        (wanted(count=100), Code.POLICY_VIOLATION),
        (wanted(assigned=[]), Code.INVALID_REPLICA_ASSIGNMENT),
        (wanted(assigned=[[1]]), Code.INVALID_REPLICA_ASSIGNMENT),
        (wanted(assigned=[[1], [2]]), Code.INVALID_REPLICA_ASSIGNMENT),
        (wanted(assigned=[[1], [1, 2]]), Code.INVALID_REPLICA_ASSIGNMENT),
    ],
)
def test_what_cannot_be_added_is_refused(node, topic, code):
    (row,) = add(node, topic)
    assert (row.error_code, bool(row.error_message)) == (code, True)
    assert len(node.broker.topics["orders"].partitions) == 2


def test_a_topic_that_is_named_twice_stays_as_it_is(node):
    assert answers(add(node, wanted(count=3), wanted(count=4))) == {"orders": Code.INVALID_REQUEST}
    assert len(node.broker.topics["orders"].partitions) == 2


def test_limits_are_looked_at_when_it_is_only_checked(node):
    (row,) = ask(node, create_partitions.API, topics=[wanted(count=5)], validate_only=True).results
    assert (row.error_code, len(node.broker.topics["orders"].partitions)) == (Code.POLICY_VIOLATION, 2)
