import pytest

from gstream.kafka import list_partition_reassignments
from gstream.kafka.codes import Code
from tests.unit.admin_ground import ask, make_node

Topic = list_partition_reassignments.API.request.ListPartitionReassignmentsTopics


@pytest.mark.parametrize(
    "topics", [None, [], [Topic(name="orders", partition_indexes=[0])], [Topic(name="nothing", partition_indexes=[7])]]
)
def test_nothing_moves(topics):
    node = make_node()
    node.broker.set_up("orders", 2)
    reply = ask(node, list_partition_reassignments.API, topics=topics)
    assert (reply.error_code, reply.error_message, reply.topics) == (Code.NONE, None, [])
