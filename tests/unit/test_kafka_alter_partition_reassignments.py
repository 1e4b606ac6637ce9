import pytest

from gstream.kafka import alter_partition_reassignments
from gstream.kafka.codes import Code
from tests.unit.admin_ground import ask, make_node

Topic = alter_partition_reassignments.API.request.ReassignableTopic
Wanted = Topic.ReassignablePartition


@pytest.fixture
def node():
    node = make_node()
    node.broker.set_up("orders", 2)
    return node


def reassign(node, topics):
    """The code and message of each partition."""
    asked = [
        Topic(
            name=name, partitions=[Wanted(partition_index=index, replicas=servers) for index, servers in rows.items()]
        )
        for name, rows in topics.items()
    ]
    reply = ask(node, alter_partition_reassignments.API, topics=asked)
    assert (reply.error_code, reply.error_message) == (Code.NONE, None)
    return {
        (topic.name, each.partition_index): (each.error_code, each.error_message)
        for topic in reply.responses
        for each in topic.partitions
    }


def test_they_are_where_they_are_wanted(node):
    assert reassign(node, {"orders": {0: [1], 1: [1]}}) == {("orders", 0): (0, None), ("orders", 1): (0, None)}


@pytest.mark.parametrize("servers", [[], [0], [2], [1, 2], [1, 1]])
def test_other_servers_there_are_not(node, servers):
    ((code, message),) = reassign(node, {"orders": {0: servers}}).values()
    assert code == Code.INVALID_REPLICA_ASSIGNMENT
    assert str(servers) in message


def test_there_is_nothing_to_be_cancelled(node):
    ((code, message),) = reassign(node, {"orders": {0: None}}).values()
    assert (code, message) == (Code.NO_REASSIGNMENT_IN_PROGRESS, "No partition reassignment is in progress.")


@pytest.mark.parametrize("servers", [[1], [7], None])
def test_partitions_that_there_are_not(node, servers):
    found = reassign(node, {"orders": {2: servers, -1: servers}, "nothing": {0: servers}})
    assert [code for code, _ in found.values()] == [Code.UNKNOWN_TOPIC_OR_PARTITION] * 3
    assert "nothing" not in node.broker.topics
