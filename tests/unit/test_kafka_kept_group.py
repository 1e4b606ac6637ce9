import json

import pytest

from gstream.kafka import kept_group
from gstream.kafka.committed import Offsets
from gstream.kafka.group import Group, State
from gstream.storage.facts import Facts
from tests.unit.groups_ground import BOTH, joining


def make_group(time):
    return Group("workers", time.agenda, Offsets(Facts(), "workers"))


@pytest.fixture
def group(time):
    group = make_group(time)
    id = group.join(joining(protocols=BOTH, client_id="me", client_host="/host", session_seconds=5)).get().member_id
    group.join(joining(instance_id="two", protocols=BOTH, session_seconds=5))
    group.join(joining(id, protocols=BOTH, client_id="me", client_host="/host", session_seconds=5))
    group.sync(2, id, None, [(id, b"\0half"), (list(group.roster)[1].id, b"\xffother")])
    return group


def facts_of(group):
    return [
        {name: getattr(member, name) for name in member.__slots__ if name not in {"deadline", "entry", "is_gone"}}
        for member in group.roster
    ]


def test_it_comes_back_as_it_was(group, time):
    again = make_group(time)
    assert kept_group.restore(again, kept_group.encode(group, 4711)) == 4711
    assert (again.state, again.generation, again.protocol_type, again.protocol) == (
        State.STABLE,
        2,
        "consumer",
        group.protocol,
    )
    assert again.roster.leader == group.roster.leader
    assert facts_of(again) == facts_of(group)


def test_its_members_have_some_time_to_come_back(group, time):
    again = make_group(time)
    kept_group.restore(again, kept_group.encode(group, 0))
    ids = [member.id for member in again.roster]
    time.sleep(4)
    again.heartbeat(2, ids[0], None)
    time.sleep(4)
    assert [member.id for member in again.roster] == ids[:1]


def test_a_group_without_members(time):
    group = make_group(time)
    id = group.join(joining()).get().member_id
    group.leave(id, None)
    again = make_group(time)
    kept_group.restore(again, kept_group.encode(group, 1))
    assert (again.state, again.generation, again.protocol, len(again.roster)) == (State.EMPTY, 2, None, 0)


@pytest.mark.parametrize("value", [b"", b"garbage", b"[]", b"{}", b"\xff", b'{"members": [{}]}', b"null"])
def test_what_was_kept_differently(time, value):
    again = make_group(time)
    with pytest.raises((ValueError, KeyError, TypeError)):
        kept_group.restore(again, value)
    assert (again.state, again.generation, len(again.roster)) == (State.EMPTY, 0, 0)


def test_it_is_a_line_of_json(group):
    value = kept_group.encode(group, 0)
    assert b"\n" not in value
    assert json.loads(value)["generation"] == 2
