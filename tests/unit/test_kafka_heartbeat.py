import pytest

from gstream.kafka import heartbeat
from gstream.kafka.codes import Code
from tests.unit.groups_ground import ask, join, make_node, member, sync


@pytest.fixture
def node(time):
    return make_node(time)


def beat(node, of, version=None, **fields):
    fields = {"group_id": "workers", "generation_id": of.generation, "member_id": of.id, **fields}
    return ask(node, heartbeat.API, version, **fields).error_code


@pytest.mark.parametrize("version", heartbeat.API.versions)
def test_a_member_lives(node, time, version):
    first = member(node, session_timeout_ms=5000)
    for _ in range(3):
        time.sleep(4)
        assert beat(node, first, version) == Code.NONE
    time.sleep(5)
    assert beat(node, first, version) == Code.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"group_id": ""}, Code.INVALID_GROUP_ID),
        ({"group_id": "others"}, Code.UNKNOWN_MEMBER_ID),
        ({"member_id": "somebody"}, Code.UNKNOWN_MEMBER_ID),
        ({"member_id": ""}, Code.UNKNOWN_MEMBER_ID),
        ({"group_instance_id": "one"}, Code.UNKNOWN_MEMBER_ID),
        ({"generation_id": 0}, Code.ILLEGAL_GENERATION),
        ({"generation_id": 2}, Code.ILLEGAL_GENERATION),
    ],
)
def test_what_can_be_wrong(node, more, expected):
    assert beat(node, member(node), **more) == expected


def test_all_have_to_join_again(node):
    first = member(node)
    join(node, version=3)
    assert beat(node, first) == Code.REBALANCE_IN_PROGRESS


def test_who_was_replaced(node):
    old = join(node, group_instance_id="one").reply
    sync(node, old, group_instance_id="one")
    join(node, group_instance_id="one")
    fields = {"group_id": "workers", "generation_id": 1, "member_id": old.member_id, "group_instance_id": "one"}
    assert ask(node, heartbeat.API, **fields).error_code == Code.FENCED_INSTANCE_ID


def test_the_server_stops(node):
    first = member(node)
    node.stopping.set()
    assert beat(node, first) == Code.COORDINATOR_NOT_AVAILABLE
