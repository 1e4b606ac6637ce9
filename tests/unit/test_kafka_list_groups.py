import pytest

from gstream.kafka import list_groups
from gstream.kafka.codes import Code
from gstream.kafka.committed import Committed
from tests.unit.groups_ground import ask, join, make_node, member

VERSIONS = list_groups.API.versions


@pytest.fixture
def node(time):
    node = make_node(time)
    member(node)
    node.groups.commit_offsets("offsets", {("orders", 0): Committed(1)})
    node.broker.topic("orders").group("readers")
    return node


def listed(node, version=None, **fields):
    reply = ask(node, list_groups.API, version, **fields)
    assert reply.error_code == Code.NONE
    return reply.groups


@pytest.mark.parametrize("version", VERSIONS)
def test_all_groups(node, version):
    rows = listed(node, version)
    assert {row.group_id: row.protocol_type for row in rows} == {
        "workers": "consumer",
        "offsets": "",
        "readers": "",
    }
    if version >= 4:
        states = {row.group_id: row.group_state for row in rows}
        assert states == {"workers": "Stable", "offsets": "Empty", "readers": "Empty"}
    if version >= 5:
        assert {row.group_type for row in rows} == {"classic"}


@pytest.mark.parametrize("version", VERSIONS[4:])
@pytest.mark.parametrize(
    ("states", "names"),
    [
        (["Stable"], {"workers"}),
        (["empty", "Dead"], {"offsets", "readers"}),
        (["PreparingRebalance"], set()),
        ([], {"workers", "offsets", "readers"}),
    ],
)
def test_those_in_some_states(node, version, states, names):
    assert {row.group_id for row in listed(node, version, states_filter=states)} == names


def test_one_that_has_no_generation(node):
    join(node, version=3)
    assert [row.group_id for row in listed(node, states_filter=["PreparingRebalance"])] == ["workers"]


@pytest.mark.parametrize(("types", "count"), [(["classic"], 3), (["Classic", "share"], 3), (["consumer"], 0)])
def test_those_of_some_types(node, types, count):
    assert len(listed(node, types_filter=types)) == count


@pytest.mark.parametrize("version", VERSIONS)
def test_the_server_stops(node, version):
    node.stopping.set()
    reply = ask(node, list_groups.API, version)
    assert (reply.error_code, reply.groups) == (Code.COORDINATOR_NOT_AVAILABLE, [])
