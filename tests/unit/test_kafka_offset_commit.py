import gevent
import pytest

from gstream.commit import Commit
from gstream.errors import StorageError
from gstream.kafka import offset_commit
from gstream.kafka.api import Context, Deferred
from gstream.kafka.codes import Code
from gstream.kafka.committed import Committed
from tests.unit.groups_ground import ask, join, make_node, member

Topic = offset_commit.API.request.OffsetCommitRequestTopic
Partition = Topic.OffsetCommitRequestPartition
VERSIONS = offset_commit.API.versions


@pytest.fixture
def node(time):
    return make_node(time)


def topics(offsets, metadata=None, epoch=-1):
    return [
        Topic(
            name=name,
            partitions=[
                Partition(
                    partition_index=index,
                    committed_offset=offset,
                    committed_leader_epoch=epoch,
                    committed_metadata=metadata,
                )
                for index, offset in partitions.items()
            ],
        )
        for name, partitions in offsets.items()
    ]


def commit(node, offsets, of=None, version=None, metadata=None, epoch=-1, **fields):
    """The code of each partition."""
    fields = {
        "group_id": "workers",
        "generation_id_or_member_epoch": -1 if of is None else of.generation,
        "member_id": "" if of is None else of.id,
        **fields,
    }
    reply = ask(node, offset_commit.API, version, topics=topics(offsets, metadata, epoch), **fields)
    return {(topic.name, row.partition_index): row.error_code for topic in reply.topics for row in topic.partitions}


def committed(node, topic="orders", index=0, group="workers"):
    found = node.groups.find(group)
    return None if found is None else found.offsets.get((topic, index))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_member_commits(node, version):
    codes = commit(node, {"orders": {0: 7, 1: 8}, "mails": {1: 9}}, member(node), version, "so far", 0)
    assert codes == dict.fromkeys([("orders", 0), ("orders", 1), ("mails", 1)], Code.NONE)
    now_ms = int(node.engine.clock() * 1000)
    epoch = 0 if version >= 6 else -1
    assert committed(node) == Committed(7, epoch, "so far", now_ms)
    assert committed(node, "mails", 1).offset == 9


@pytest.mark.parametrize("version", VERSIONS)
def test_who_is_in_no_group_commits(node, version):
    assert commit(node, {"orders": {0: 7}}, version=version) == {("orders", 0): Code.NONE}
    assert committed(node).offset == 7
    assert committed(node).metadata == ""
    group = node.groups.find("workers")
    assert (group.state, group.protocol_type) == ("Empty", None)


def test_a_group_without_a_name(node):
    assert commit(node, {"orders": {0: 7}}, group_id="") == {("orders", 0): Code.NONE}
    assert committed(node, group="").offset == 7


def test_what_is_not_there(node):
    codes = commit(node, {"orders": {0: 7, 2: 7, -1: 7}, "nothing": {0: 7}})
    unknown = Code.UNKNOWN_TOPIC_OR_PARTITION
    assert codes == {
        ("orders", 0): Code.NONE,
        ("orders", 2): unknown,
        ("orders", -1): unknown,
        ("nothing", 0): unknown,
    }
    assert "nothing" not in node.broker.topics
    assert len(list(node.groups.find("workers").offsets)) == 1


def test_nothing_can_be_committed(node):
    assert commit(node, {"nothing": {0: 7}}) == {("nothing", 0): Code.UNKNOWN_TOPIC_OR_PARTITION}
    assert commit(node, {}) == {}
    assert len(node.groups) == 0


def test_it_says_too_much(node):
    assert commit(node, {"orders": {0: 7}}, metadata="x" * 4097) == {("orders", 0): Code.OFFSET_METADATA_TOO_LARGE}
    assert commit(node, {"orders": {0: 7}}, metadata="x" * 4096) == {("orders", 0): Code.NONE}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"member_id": "somebody"}, Code.UNKNOWN_MEMBER_ID),
        ({"member_id": "", "generation_id_or_member_epoch": -1}, Code.UNKNOWN_MEMBER_ID),
        ({"group_instance_id": "one"}, Code.UNKNOWN_MEMBER_ID),
        ({"generation_id_or_member_epoch": 0}, Code.ILLEGAL_GENERATION),
        ({"group_id": "others"}, Code.ILLEGAL_GENERATION),
    ],
)
def test_who_must_not_commit(node, more, expected):
    codes = commit(node, {"orders": {0: 7}, "nothing": {0: 7}}, member(node), **more)
    assert codes == {("orders", 0): expected, ("nothing", 0): expected}
    assert committed(node) is None


def test_while_the_work_is_shared_out(node):
    told = join(node, version=3).reply
    fields = {"generation_id_or_member_epoch": 1, "member_id": told.member_id}
    assert commit(node, {"orders": {0: 7}}, **fields) == {("orders", 0): Code.REBALANCE_IN_PROGRESS}


def test_while_all_join(node):
    first = member(node)
    join(node, version=3)
    assert commit(node, {"orders": {0: 7}}, first) == {("orders", 0): Code.NONE}


def test_who_was_replaced(node):
    old = member(node)
    group = node.groups.find("workers")
    group.leave(old.id, None)
    told = join(node, group_instance_id="one").reply
    join(node, group_instance_id="one")
    fields = {"generation_id_or_member_epoch": 3, "member_id": told.member_id, "group_instance_id": "one"}
    assert commit(node, {"orders": {0: 7}}, **fields) == {("orders", 0): Code.FENCED_INSTANCE_ID}


def test_a_name_that_line_groups_have(node):
    node.broker.topic("mails").group("workers")
    assert commit(node, {"orders": {0: 7}}) == {("orders", 0): Code.INCONSISTENT_GROUP_PROTOCOL}


def test_the_server_stops(node):
    node.stopping.set()
    assert commit(node, {"orders": {0: 7}}) == {("orders", 0): Code.COORDINATOR_NOT_AVAILABLE}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, Code.NONE),
        (StorageError("the disk is full"), Code.COORDINATOR_NOT_AVAILABLE),
        (ValueError("a bug"), Code.UNKNOWN_SERVER_ERROR),
    ],
)
def test_it_is_answered_when_it_is_kept(node, monkeypatch, error, expected):
    pending = Commit()
    monkeypatch.setattr(node.facts, "commit", lambda: pending)
    api = offset_commit.API
    request = api.request(group_id="workers", member_id="", topics=topics({"orders": {0: 7}, "nothing": {0: 7}}))
    reply = api.handle(node, request, Context(8))
    assert isinstance(reply, Deferred)
    assert reply.commit is pending
    gevent.get_hub().loop.run_callback(pending.finish, error)
    gevent.idle()
    codes = [row.error_code for topic in reply.finish().topics for row in topic.partitions]
    assert codes == [expected, Code.UNKNOWN_TOPIC_OR_PARTITION]


def test_a_topic_that_is_removed_meanwhile(node, monkeypatch):
    def in_turns(rows):
        yield from rows
        node.broker.remove("orders")

    monkeypatch.setattr(offset_commit, "in_turns", in_turns)
    assert commit(node, {"orders": {0: 5}}) == {("orders", 0): Code.UNKNOWN_TOPIC_OR_PARTITION}
    assert node.facts.under("topic/orders/offset/") == {}
