import pytest
from gevent.event import Event

from gstream.kafka import groups, join_group
from gstream.kafka.codes import Code
from tests.unit.groups_ground import RANGE, gone, join, make_node, member, sync

VERSIONS = join_group.API.versions


@pytest.fixture
def node(time):
    return make_node(time)


def code(asked):
    return asked.reply.error_code


@pytest.mark.parametrize("version", VERSIONS)
def test_who_comes_first_leads(node, version):
    told = join(node, version=version).reply
    if version >= 4:
        assert told.error_code == Code.MEMBER_ID_REQUIRED
        told = join(node, told.member_id, version=version).reply
    assert told.error_code == Code.NONE
    assert told.leader == told.member_id
    assert told.member_id.startswith("client-")
    assert (told.generation_id, told.protocol_name) == (1, "range")
    ((id, metadata),) = [(each.member_id, each.metadata) for each in told.members]
    assert (id, metadata) == (told.member_id, b"about range")
    if version >= 7:
        assert told.protocol_type == "consumer"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_error_in_every_version(node, version):
    told = join(node, "somebody", version=version).reply
    assert (told.error_code, told.member_id, told.generation_id) == (Code.UNKNOWN_MEMBER_ID, "somebody", -1)
    assert told.protocol_name == (None if version >= 7 else "")
    assert len(node.groups) == 0


@pytest.mark.parametrize("version", VERSIONS[5:])
def test_a_static_member(node, version):
    told = join(node, version=version, group_instance_id="one").reply
    assert told.error_code == Code.NONE
    assert told.members[0].group_instance_id == "one"
    assert code(join(node, "other", version=version, group_instance_id="one")) == Code.FENCED_INSTANCE_ID


def test_a_static_leader_comes_back(node):
    told = join(node, group_instance_id="one").reply
    sync(node, told, [(told.member_id, b"all")], group_instance_id="one")
    back = join(node, group_instance_id="one").reply
    assert (back.error_code, back.skip_assignment, back.leader) == (Code.NONE, True, back.member_id)
    old = join(node, version=8, group_instance_id="one").reply
    assert (old.skip_assignment, old.leader, old.members) == (False, back.member_id, [])


def test_the_client_and_its_host_are_noted(node):
    first = member(node)
    noted = node.groups.find("workers").roster.find(first.id, None)
    assert (noted.client_id, noted.client_host) == ("client", "/127.0.0.1")


@pytest.mark.parametrize("milliseconds", [-1, 0, 9, 30 * 60 * 1000 + 1])
def test_a_session_of_a_length_that_cannot_be(node, milliseconds):
    assert code(join(node, session_timeout_ms=milliseconds)) == Code.INVALID_SESSION_TIMEOUT
    assert len(node.groups) == 0


@pytest.mark.parametrize("milliseconds", [10, 30 * 60 * 1000])
def test_the_longest_and_the_shortest_session(node, milliseconds):
    assert code(join(node, session_timeout_ms=milliseconds)) == Code.MEMBER_ID_REQUIRED


@pytest.mark.parametrize(
    ("version", "asked_ms", "seconds"), [(0, 60_000, 10), (1, 60_000, 60), (1, -1, 10), (9, 0, 10)]
)
def test_how_long_a_member_may_take_to_join_again(node, version, asked_ms, seconds):
    told = join(node, version=version, rebalance_timeout_ms=asked_ms, group_instance_id="i" if version > 4 else None)
    noted = node.groups.find("workers").roster.find(told.reply.member_id, None)
    assert noted.rebalance_seconds == seconds


def test_nobody_is_waited_for_longer_than_a_day(node):
    told = join(node, version=1, rebalance_timeout_ms=(1 << 31) - 1).reply
    assert node.groups.find("workers").roster.find(told.member_id, None).rebalance_seconds == 24 * 3600


def test_a_name_that_is_too_long(node):
    assert code(join(node, group="x" * 1001)) == Code.INVALID_GROUP_ID
    assert code(join(node, group="x" * 1000)) == Code.MEMBER_ID_REQUIRED


def test_too_many_protocols(node):
    protocols = tuple((f"p{number}", b"") for number in range(101))
    assert code(join(node, protocols=protocols)) == Code.INVALID_REQUEST
    assert code(join(node, protocols=protocols[:100])) == Code.MEMBER_ID_REQUIRED


@pytest.mark.parametrize(
    "more",
    [
        {"protocol_type": "x" * 1001},
        {"protocols": (("x" * 1001, b""),)},
        {"group_instance_id": "x" * 1001},
    ],
)
def test_names_that_others_could_not_be_told(node, more):
    assert code(join(node, **more)) == Code.INVALID_REQUEST
    assert len(node.groups) == 0


def test_a_group_without_a_name(node):
    assert code(join(node, group="")) == Code.INVALID_GROUP_ID


@pytest.mark.parametrize("more", [{"protocols": ()}, {"protocol_type": ""}])
def test_who_names_no_protocol(node, more):
    assert code(join(node, **more)) == Code.INCONSISTENT_GROUP_PROTOCOL
    assert len(node.groups) == 0


def test_who_has_no_protocol_in_common(node):
    member(node)
    assert code(join(node, protocols=(("sticky", b""),))) == Code.INCONSISTENT_GROUP_PROTOCOL
    assert code(join(node, protocol_type="connect")) == Code.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize("id", ["", "somebody"])
def test_a_name_that_line_groups_have(node, id):
    node.broker.topic("orders").group("workers")
    assert code(join(node, id)) == Code.INCONSISTENT_GROUP_PROTOCOL


def test_too_many_groups(time):
    node = make_node(time, max_groups=1)
    member(node)
    assert code(join(node, group="others")) == Code.GROUP_MAX_SIZE_REACHED


def test_members_that_take_too_much(node, monkeypatch):
    monkeypatch.setattr(groups, "MAX_BYTES", 3000)
    member(node, protocols=(("range", bytes(3000)),))
    assert code(join(node, group="others")) == Code.GROUP_MAX_SIZE_REACHED
    assert len(node.groups) == 1


def test_members_go_on_when_there_is_no_room_for_others(node, monkeypatch):
    one = member(node)
    static = join(node, group="others", group_instance_id="first").reply
    monkeypatch.setattr("gstream.kafka.groups.MAX_BYTES", 1)
    assert code(join(node)) == Code.GROUP_MAX_SIZE_REACHED
    assert code(join(node, one.id)) == Code.NONE
    assert code(join(node, group="others", group_instance_id="first")) == Code.NONE
    assert code(join(node, static.member_id, group="others", group_instance_id="first")) == Code.FENCED_INSTANCE_ID
    assert code(join(node, one.id, protocols=(("range", bytes(1000)),))) == Code.GROUP_MAX_SIZE_REACHED


def test_it_blocks_until_all_are_there(node):
    first = member(node)
    second = join(node, join(node).reply.member_id)
    assert not second.is_answered
    again = join(node, first.id)
    assert again.reply.generation_id == second.reply.generation_id == 2
    assert len(again.reply.members) == 2
    assert second.reply.members == []


def test_who_waits_and_is_gone_is_not_waited_for(node, time):
    first = member(node, session_timeout_ms=1_000_000)
    told = join(node, session_timeout_ms=5000).reply
    second = join(node, told.member_id, session_timeout_ms=5000, peer=gone())
    time.sleep(5)
    assert second.reply.error_code == Code.UNKNOWN_MEMBER_ID
    assert [each.id for each in node.groups.find("workers").roster] == [first.id]


def test_a_group_waits_a_little(time):
    node = make_node(time, kafka_group_delay_seconds=3.0)
    told = [join(node, version=3, protocols=RANGE) for _ in range(3)]
    assert not told[0].is_answered
    time.sleep(3)  # more have come meanwhile
    time.sleep(3)
    assert {each.reply.generation_id for each in told} == {1}


def test_the_server_stops(node):
    node.stopping = Event()
    node.stopping.set()
    assert code(join(node)) == Code.COORDINATOR_NOT_AVAILABLE
