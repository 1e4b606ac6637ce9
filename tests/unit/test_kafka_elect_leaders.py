import pytest

from gstream.kafka import elect_leaders
from gstream.kafka.codes import Code
from tests.unit.admin_ground import ask, make_node

Wanted = elect_leaders.API.request.TopicPartitions
VERSIONS = elect_leaders.API.versions


@pytest.fixture
def node():
    node = make_node()
    node.broker.set_up("orders", 2)
    return node


def elect(node, topics, version=None, **more):
    wanted = None if topics is None else [Wanted(topic=name, partitions=numbers) for name, numbers in topics.items()]
    return ask(node, elect_leaders.API, version, topic_partitions=wanted, **more)


def rows(reply):
    return {
        (topic.topic, each.partition_id): (each.error_code, each.error_message)
        for topic in reply.replica_election_results
        for each in topic.partition_result
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_no_partition_needs_another_leader(node, version):
    reply = elect(node, {"orders": [1, 0]}, version)
    none_needed = (Code.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.")
    assert rows(reply) == {("orders", 1): none_needed, ("orders", 0): none_needed}
    if version >= 1:
        assert reply.error_code == Code.NONE


@pytest.mark.parametrize("version", VERSIONS)
def test_partitions_that_there_are_not(node, version):
    found = rows(elect(node, {"orders": [2, -1], "nothing": [0]}, version))
    assert found == {
        ("orders", 2): (Code.UNKNOWN_TOPIC_OR_PARTITION, "No such partition as orders-2"),
        ("orders", -1): (Code.UNKNOWN_TOPIC_OR_PARTITION, "No such partition as orders--1"),
        ("nothing", 0): (Code.UNKNOWN_TOPIC_OR_PARTITION, "No such partition as nothing-0"),
    }
    assert "nothing" not in node.broker.topics


@pytest.mark.parametrize("version", VERSIONS)
def test_of_all_partitions_only_elections_are_told(node, version):
    assert elect(node, None, version).replica_election_results == []


@pytest.mark.parametrize(("kind", "code"), [(0, 0), (1, 0), (2, Code.INVALID_REQUEST), (-1, Code.INVALID_REQUEST)])
def test_kinds_of_elections(node, kind, code):
    reply = elect(node, {"orders": [0]}, election_type=kind)
    assert reply.error_code == code
    assert bool(reply.replica_election_results) == (not code)
