import pytest

from gstream.consumer import Consumer
from gstream.kafka import describe_groups
from gstream.kafka.codes import Code
from tests.unit.groups_ground import ask, join, make_node, member

VERSIONS = describe_groups.API.versions


@pytest.fixture
def node(time):
    return make_node(time)


def describe(node, *names, version=None, **fields):
    return ask(node, describe_groups.API, version, groups=list(names), **fields).groups


@pytest.mark.parametrize("version", VERSIONS)
def test_a_group_at_work(node, version):
    first = member(node)
    (row,) = describe(node, "workers", version=version)
    assert (row.error_code, row.group_id, row.group_state) == (Code.NONE, "workers", "Stable")
    assert (row.protocol_type, row.protocol_data) == ("consumer", "range")
    (told,) = row.members
    assert (told.member_id, told.client_id, told.client_host) == (first.id, "client", "/127.0.0.1")
    assert (told.member_metadata, told.member_assignment) == (b"about range", b"all")


@pytest.mark.parametrize("version", VERSIONS[4:])
def test_a_static_member(node, version):
    join(node, group_instance_id="one")
    (row,) = describe(node, "workers", version=version)
    assert row.members[0].group_instance_id == "one"


def test_what_does_not_hold_is_not_told(node):
    told = join(node, version=3).reply
    (row,) = describe(node, "workers")
    assert (row.group_state, row.protocol_data) == ("CompletingRebalance", "")
    assert [(each.member_id, each.member_metadata, each.member_assignment) for each in row.members] == [
        (told.member_id, b"", b"")
    ]
    join(node, version=3)
    assert describe(node, "workers")[0].group_state == "PreparingRebalance"
    for each in list(node.groups.find("workers").roster):
        node.groups.find("workers").leave(each.id, None)
    (row,) = describe(node, "workers")
    assert (row.group_state, row.protocol_type, row.members) == ("Empty", "consumer", [])


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_there_is_dead(node, version):
    rows = describe(node, "workers", "", "workers", version=version)
    assert [(row.group_id, row.group_state, row.error_code) for row in rows] == [
        ("workers", "Dead", 0),
        ("", "Dead", 0),
    ]
    assert len(node.groups) == 0


def test_what_a_client_may_do(node):
    member(node)
    (row, dead) = describe(node, "workers", "others", include_authorized_operations=True)
    assert row.authorized_operations == dead.authorized_operations == {3, 6, 8}
    assert describe(node, "workers")[0].authorized_operations is None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_line_group(node, version):
    topic = node.broker.topic("orders")
    group = topic.group("readers")
    (row,) = describe(node, "readers", version=version)
    assert (row.error_code, row.group_state, row.protocol_type, row.members) == (Code.NONE, "Empty", "", [])
    assert row.protocol_data == "gstream"
    topic.publish(b"px\n", 1)
    group.lease(Consumer(node.engine), group.take(1, 1000))
    (row,) = describe(node, "readers", version=version)
    assert (row.group_state, [each.member_id for each in row.members]) == ("Stable", ["orders-0"])


def test_the_server_stops(node):
    member(node)
    node.stopping.set()
    (row,) = describe(node, "workers")
    assert (row.error_code, row.members) == (Code.COORDINATOR_NOT_AVAILABLE, [])
