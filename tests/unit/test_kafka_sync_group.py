import pytest

from gstream.kafka import sync_group
from gstream.kafka.codes import Code
from tests.unit.groups_ground import join, make_node, member, sync

VERSIONS = sync_group.API.versions


@pytest.fixture
def node(time):
    return make_node(time)


def joined(node, **more):
    """The first member of a group, and the generation."""
    return join(node, version=3, **more).reply


def code(asked):
    return asked.reply.error_code


@pytest.mark.parametrize("version", VERSIONS)
def test_the_leader_shares_the_work_out(node, version):
    told = joined(node)
    reply = sync(node, told, [(told.member_id, b"all")], version=version).reply
    assert (reply.error_code, reply.assignment) == (Code.NONE, b"all")
    if version >= 5:
        assert (reply.protocol_type, reply.protocol_name) == ("consumer", "range")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_error_in_every_version(node, version):
    told = joined(node)
    reply = sync(node, told, version=version, generation_id=7).reply
    assert (reply.error_code, reply.assignment) == (Code.ILLEGAL_GENERATION, b"")


def test_others_wait_for_the_leader(node):
    first = joined(node)
    second = join(node, version=3)
    first, second = join(node, first.member_id, version=3).reply, second.reply
    asked = sync(node, second)
    assert not asked.is_answered
    sync(node, first, [(first.member_id, b"one half"), (second.member_id, b"the other")])
    assert asked.reply.assignment == b"the other"


def test_all_have_to_join_again(node):
    first = joined(node)
    join(node, version=3)
    assert code(sync(node, first)) == Code.REBALANCE_IN_PROGRESS


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"group": ""}, Code.INVALID_GROUP_ID),
        ({"group": "others"}, Code.UNKNOWN_MEMBER_ID),
        ({"member_id": "somebody"}, Code.UNKNOWN_MEMBER_ID),
        ({"group_instance_id": "one"}, Code.UNKNOWN_MEMBER_ID),
        ({"generation_id": 0}, Code.ILLEGAL_GENERATION),
        ({"generation_id": -1}, Code.ILLEGAL_GENERATION),
        ({"protocol_type": "connect"}, Code.INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol_name": "sticky"}, Code.INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol_type": "consumer", "protocol_name": "range"}, Code.NONE),
    ],
)
def test_what_can_be_wrong(node, more, expected):
    assert code(sync(node, joined(node), **more)) == expected


def test_who_was_replaced(node):
    old = join(node, group_instance_id="one").reply
    sync(node, old, group_instance_id="one")
    join(node, group_instance_id="one")
    assert code(sync(node, old, group_instance_id="one")) == Code.FENCED_INSTANCE_ID


def test_a_group_without_members(node):
    first = member(node)
    node.groups.find("workers").leave(first.id, None)
    told = joined(node, group="others")
    assert code(sync(node, told, member_id=first.id, generation_id=2)) == Code.UNKNOWN_MEMBER_ID


def test_the_server_stops_while_others_wait(node):
    first = joined(node)
    second = join(node, version=3)
    join(node, first.member_id, version=3)
    asked = sync(node, second.reply)
    assert not asked.is_answered
    node.stopping.set()
    assert code(asked) == Code.COORDINATOR_NOT_AVAILABLE
    assert code(sync(node, second.reply)) == Code.COORDINATOR_NOT_AVAILABLE
