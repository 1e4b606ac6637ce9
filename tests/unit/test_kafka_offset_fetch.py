import pytest

from gstream.kafka import offset_fetch
from gstream.kafka.codes import Code
from gstream.kafka.committed import Committed
from tests.unit.groups_ground import ask, make_node

Request = offset_fetch.API.request
VERSIONS = offset_fetch.API.versions
ONE_GROUP, SEVERAL_GROUPS = VERSIONS[:7], VERSIONS[7:]


@pytest.fixture
def node(time):
    node = make_node(time)
    offsets = {("orders", 0): Committed(7, 0, "so far"), ("mails", 1): Committed(8)}
    node.groups.commit_offsets("workers", offsets)
    return node


def fetch(node, places, version=None, groups=("workers",), is_stable=False):
    """What is told of each partition of each group: offset, leader epoch, metadata, code; and the group's own code.

    places: topics with their partitions; None: all.
    """
    version = VERSIONS[-1] if version is None else version
    fields = {"require_stable": is_stable} if version >= 7 else {}
    if version in ONE_GROUP:
        (group,) = groups
        kind = Request.OffsetFetchRequestTopic
        reply = ask(node, offset_fetch.API, version, group_id=group, topics=rows_of(kind, places), **fields)
        return {group: (told(reply.topics, version), reply.error_code)}
    kind = Request.OffsetFetchRequestGroup
    asked = [kind(group_id=group, topics=rows_of(kind.OffsetFetchRequestTopics, places)) for group in groups]
    reply = ask(node, offset_fetch.API, version, groups=asked, **fields)
    return {group.group_id: (told(group.topics, version), group.error_code) for group in reply.groups}


def rows_of(kind, places):
    if places is None:
        return None
    return [kind(name=name, partition_indexes=indexes) for name, indexes in places.items()]


def told(topics, version):
    return {
        (topic.name, row.partition_index): (
            row.committed_offset,
            row.committed_leader_epoch if version >= 5 else None,
            row.metadata,
            row.error_code,
        )
        for topic in topics
        for row in topic.partitions
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_committed(node, version):
    epochs = (0, -1) if version >= 5 else (None, None)
    ((rows, code),) = fetch(node, {"orders": [0, 1], "nothing": [0]}, version).values()
    assert rows == {
        ("orders", 0): (7, epochs[0], "so far", Code.NONE),
        ("orders", 1): (-1, epochs[1], "", Code.NONE),
        ("nothing", 0): (-1, epochs[1], "", Code.NONE),
    }
    assert code == Code.NONE


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_all_that_was_committed(node, version):
    ((rows, _),) = fetch(node, None, version).values()
    assert {place: row[0] for place, row in rows.items()} == {("orders", 0): 7, ("mails", 1): 8}


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_asked_for(node, version):
    ((rows, code),) = fetch(node, {}, version).values()
    assert (rows, code) == ({}, Code.NONE)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_group_that_is_not_there(node, version):
    ((rows, code),) = fetch(node, {"orders": [0]}, version, groups=("others",)).values()
    assert [row[0] for row in rows.values()] == [-1]
    assert code == Code.NONE
    assert node.groups.find("others") is None


def test_several_groups(node):
    node.groups.commit_offsets("others", {("orders", 1): Committed(9)})
    found = fetch(node, None, groups=("workers", "others", "nobody", "others"))
    assert {group: {place: row[0] for place, row in rows.items()} for group, (rows, _) in found.items()} == {
        "workers": {("orders", 0): 7, ("mails", 1): 8},
        "others": {("orders", 1): 9},
        "nobody": {},
    }


@pytest.mark.parametrize("version", VERSIONS[6:])
def test_what_a_transaction_is_about_to_replace(node, version):
    node.groups.add_pending("workers", 7, {("orders", 0): Committed(10), ("orders", 1): Committed(11)})
    ((rows, _),) = fetch(node, {"orders": [0, 1], "mails": [1]}, version, is_stable=True).values()
    assert rows[("orders", 0)] == rows[("orders", 1)] == (-1, -1, "", Code.UNSTABLE_OFFSET_COMMIT)
    assert rows[("mails", 1)][0] == 8
    ((rows, _),) = fetch(node, {"orders": [0]}, version).values()
    assert rows[("orders", 0)][0] == 7
    node.groups.end_pending("workers", 7, True)
    ((rows, _),) = fetch(node, {"orders": [0]}, version, is_stable=True).values()
    assert rows[("orders", 0)][0] == 10


@pytest.mark.parametrize("version", VERSIONS)
def test_how_far_a_line_group_is(node, version):
    topic = node.broker.topic("mails")
    topic.publish(b"pone\n", 1)
    topic.publish(b"ptwo\n", 1)
    group = topic.group("readers")
    batch = group.take(1, 1000)
    group.done(batch)
    ((rows, _),) = fetch(node, {"mails": [0, 1, 2], "orders": [0]}, version, groups=("readers",)).values()
    lows = {place: row[0] for place, row in rows.items()}
    assert lows == {
        ("mails", batch.partition): 1,
        ("mails", 1 - batch.partition): 0,
        ("mails", 2): -1,
        ("orders", 0): -1,
    }
    if version >= 2:
        ((rows, _),) = fetch(node, None, version, groups=("readers",)).values()
        assert sorted(row[0] for row in rows.values()) == [0, 1]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_server_stops(node, version):
    node.stopping.set()
    ((rows, code),) = fetch(node, {"orders": [0]}, version).values()
    if version >= 2:
        assert code == Code.COORDINATOR_NOT_AVAILABLE
    if version in ONE_GROUP:
        assert [row[-1] for row in rows.values()] == [Code.COORDINATOR_NOT_AVAILABLE]
