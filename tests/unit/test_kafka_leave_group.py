import pytest

from gstream.kafka import leave_group
from gstream.kafka.codes import Code
from gstream.kafka.group import State
from tests.unit.groups_ground import ask, join, make_node, member

Identity = leave_group.API.request.MemberIdentity
VERSIONS = leave_group.API.versions


@pytest.fixture
def node(time):
    return make_node(time)


def leave(node, *members, version=None, group="workers"):
    identities = [Identity(member_id=id, group_instance_id=instance_id) for id, instance_id in members]
    return ask(node, leave_group.API, version, group_id=group, members=identities)


def leave_alone(node, id, version, group="workers"):
    return ask(node, leave_group.API, version, group_id=group, member_id=id).error_code


@pytest.mark.parametrize("version", VERSIONS[:3])
def test_a_member_goes(node, version):
    first = member(node)
    assert leave_alone(node, "somebody", version) == Code.UNKNOWN_MEMBER_ID
    assert leave_alone(node, first.id, version, group="others") == Code.UNKNOWN_MEMBER_ID
    assert leave_alone(node, first.id, version, group="") == Code.INVALID_GROUP_ID
    assert leave_alone(node, first.id, version) == Code.NONE
    assert node.groups.find("workers").state is State.EMPTY
    assert leave_alone(node, first.id, version) == Code.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("version", VERSIONS[3:])
def test_several_go(node, version):
    join(node, group_instance_id="one")
    join(node, version=3)
    asked = join(node).reply
    reply = leave(node, ("", "one"), ("somebody", None), ("x", "one"), (asked.member_id, None), version=version)
    assert reply.error_code == Code.NONE
    assert [(each.member_id, each.group_instance_id, each.error_code) for each in reply.members] == [
        ("", "one", Code.NONE),
        ("somebody", None, Code.UNKNOWN_MEMBER_ID),
        ("x", "one", Code.UNKNOWN_MEMBER_ID),
        (asked.member_id, None, Code.NONE),
    ]
    group = node.groups.find("workers")
    assert (len(group.roster), len(group.roster.pending)) == (1, 0)


def test_another_has_its_place(node):
    first = join(node, group_instance_id="one").reply
    reply = leave(node, ("other", "one"))
    assert [each.error_code for each in reply.members] == [Code.FENCED_INSTANCE_ID]
    assert first.member_id in node.groups.find("workers").roster


def test_a_group_that_is_not_there(node):
    assert leave(node, ("a", None), group="others").error_code == Code.UNKNOWN_MEMBER_ID
    assert leave(node, ("a", None), group="").error_code == Code.INVALID_GROUP_ID


def test_the_server_stops(node):
    first = member(node)
    node.stopping.set()
    assert leave(node, (first.id, None)).error_code == Code.COORDINATOR_NOT_AVAILABLE
    assert first.id in node.groups.find("workers").roster
