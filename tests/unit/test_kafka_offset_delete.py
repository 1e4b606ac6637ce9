import gevent
import pytest

from gstream.commit import Commit
from gstream.errors import StorageError
from gstream.kafka import offset_delete
from gstream.kafka.api import Context
from gstream.kafka.codes import Code
from gstream.kafka.committed import Committed
from tests.unit.groups_ground import ask, join, make_node, member, subscription

Request = offset_delete.API.request
Topic = Request.OffsetDeleteRequestTopic


@pytest.fixture
def node(time):
    node = make_node(time)
    node.groups.commit_offsets(
        "workers", {(name, index): Committed(7) for name in ("orders", "mails") for index in (0, 1)}
    )
    return node


def topics(places):
    return [
        Topic(name=name, partitions=[Topic.OffsetDeleteRequestPartition(partition_index=index) for index in indexes])
        for name, indexes in places.items()
    ]


def delete(node, places, group="workers"):
    """The code of all, and of each partition."""
    reply = ask(node, offset_delete.API, group_id=group, topics=topics(places))
    rows = {(topic.name, row.partition_index): row.error_code for topic in reply.topics for row in topic.partitions}
    return reply.error_code, rows


def left(node):
    return [place for place, _ in node.groups.find("workers").offsets]


def test_offsets_are_forgotten(node):
    unknown = Code.UNKNOWN_TOPIC_OR_PARTITION
    assert delete(node, {"orders": [0, 5], "nothing": [0]}) == (
        Code.NONE,
        {("orders", 0): Code.NONE, ("orders", 5): unknown, ("nothing", 0): unknown},
    )
    assert left(node) == [("orders", 1), ("mails", 0), ("mails", 1)]
    assert delete(node, {"orders": [0]}) == (Code.NONE, {("orders", 0): Code.NONE})


def test_topics_that_are_consumed(node):
    member(node, protocols=(("range", subscription("orders", "more")), ("roundrobin", subscription("orders"))))
    assert delete(node, {"orders": [0], "mails": [0]}) == (
        Code.NONE,
        {("orders", 0): Code.GROUP_SUBSCRIBED_TO_TOPIC, ("mails", 0): Code.NONE},
    )
    assert ("orders", 0) in left(node)


def test_a_group_of_another_kind_that_has_members(node):
    join(node, version=3, protocol_type="connect")
    assert delete(node, {"orders": [0]}) == (Code.NON_EMPTY_GROUP, {})


def test_a_group_whose_members_have_left(node):
    first = member(node, protocols=(("range", subscription("orders")),))
    node.groups.find("workers").leave(first.id, None)
    assert delete(node, {"orders": [0]}) == (Code.NONE, {("orders", 0): Code.NONE})


def test_a_group_that_is_not_there(node):
    assert delete(node, {"orders": [0]}, group="others") == (Code.GROUP_ID_NOT_FOUND, {})


def test_the_server_stops(node):
    node.stopping.set()
    assert delete(node, {"orders": [0]}) == (Code.COORDINATOR_NOT_AVAILABLE, {})


@pytest.mark.parametrize("error", [None, StorageError("the disk is full")])
def test_it_is_answered_when_it_is_kept(node, monkeypatch, error):
    pending = Commit()
    monkeypatch.setattr(node.facts, "commit", lambda: pending)
    request = Request(group_id="workers", topics=topics({"orders": [0]}))
    reply = offset_delete.API.handle(node, request, Context(0))
    gevent.get_hub().loop.run_callback(pending.finish, error)
    gevent.idle()
    expected = Code.NONE if error is None else Code.COORDINATOR_NOT_AVAILABLE
    assert reply.finish().error_code == expected
