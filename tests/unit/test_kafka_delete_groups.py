import gevent
import pytest

from gstream.commit import Commit
from gstream.consumer import Consumer
from gstream.errors import StorageError
from gstream.kafka import delete_groups
from gstream.kafka.api import Context
from gstream.kafka.codes import Code
from gstream.kafka.committed import Committed
from tests.unit.groups_ground import ask, make_node, member

VERSIONS = delete_groups.API.versions


@pytest.fixture
def node(time):
    return make_node(time)


def delete(node, *names, version=None):
    rows = ask(node, delete_groups.API, version, groups_names=list(names)).results
    return {row.group_id: row.error_code for row in rows}


@pytest.mark.parametrize("version", VERSIONS)
def test_they_are_removed(node, version):
    member(node)
    node.groups.commit_offsets("offsets", {("orders", 0): Committed(1)})
    codes = delete(node, "workers", "offsets", "nothing", version=version)
    assert codes == {
        "workers": Code.NON_EMPTY_GROUP,
        "offsets": Code.NONE,
        "nothing": Code.GROUP_ID_NOT_FOUND,
    }
    assert [group.name for group in node.groups] == ["workers"]
    assert node.facts.under("topic/orders/offset") == {}


def test_one_whose_members_have_left(node):
    first = member(node)
    node.groups.find("workers").leave(first.id, None)
    assert delete(node, "workers") == {"workers": Code.NONE}
    assert delete(node, "workers") == {"workers": Code.GROUP_ID_NOT_FOUND}


def test_a_line_group(node):
    for name in ("orders", "mails"):
        node.broker.topic(name).group("readers")
    topic = node.broker.topic("orders")
    topic.publish(b"px\n", 1)
    consumer = Consumer(node.engine)
    topic.groups["readers"].lease(consumer, topic.groups["readers"].take(1, 1000))
    assert delete(node, "readers") == {"readers": Code.NON_EMPTY_GROUP}
    topic.groups["readers"].leave(consumer)
    assert delete(node, "readers") == {"readers": Code.NONE}
    assert not any(topic.groups for topic in node.broker.topics.values())


def test_the_server_stops(node):
    node.groups.commit_offsets("offsets", {("orders", 0): Committed(1)})
    node.stopping.set()
    assert delete(node, "offsets") == {"offsets": Code.COORDINATOR_NOT_AVAILABLE}
    assert len(node.groups) == 1


@pytest.mark.parametrize("error", [None, StorageError("the disk is full")])
def test_it_is_answered_when_it_is_kept(node, monkeypatch, error):
    node.groups.commit_offsets("offsets", {("orders", 0): Committed(1)})
    pending = Commit()
    monkeypatch.setattr(node.facts, "commit", lambda: pending)
    request = delete_groups.API.request(groups_names=["offsets", "nothing"])
    reply = delete_groups.API.handle(node, request, Context(2))
    gevent.get_hub().loop.run_callback(pending.finish, error)
    gevent.idle()
    codes = [row.error_code for row in reply.finish().results]
    assert codes == [Code.NONE if error is None else Code.COORDINATOR_NOT_AVAILABLE, Code.GROUP_ID_NOT_FOUND]
