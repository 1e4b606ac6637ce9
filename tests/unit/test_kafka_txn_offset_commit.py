from __future__ import annotations

import gevent
import pytest
from kafka.protocol.producer import TxnOffsetCommitRequest

from gstream.commit import Commit
from gstream.kafka.api import Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Committed
from gstream.kafka.txn_offset_commit import API, handle
from tests.unit.transaction_ground import DISK_FULL, Ground, spawn

Topic = TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic
Partition = Topic.TxnOffsetCommitRequestPartition


@pytest.fixture
def ground(time):
    return Ground(time)


@pytest.fixture
def producer(ground):
    identity = ground.begin()
    ground.transactions.add_group("a", identity, "g")
    return identity


def ask(ground, identity, offsets, version=3, id="a", group="g"):
    request = TxnOffsetCommitRequest(
        transactional_id=id,
        group_id=group,
        producer_id=identity[0],
        producer_epoch=identity[1],
        generation_id=4,
        member_id="m",
        group_instance_id="i",
        topics=[
            Topic(
                name=name,
                partitions=[
                    Partition(
                        partition_index=index,
                        committed_offset=offset,
                        committed_leader_epoch=0,
                        committed_metadata=metadata,
                    )
                ],
            )
            for name, index, offset, metadata in offsets
        ],
    )
    reply = handle(ground, request, Context(version))
    return [Code(each.error_code) for topic in reply.topics for each in topic.partitions]


def test_what_it_is():
    assert (API.key, API.name, list(API.versions)) == (28, "TxnOffsetCommit", [0, 1, 2, 3])


def test_offsets_wait(ground, producer):
    assert ask(ground, producer, [("t", 0, 5, "note"), ("t", 1, 6, None)]) == [Code.NONE, Code.NONE]
    assert ground.groups.pending == {
        ("g", producer.id): {("t", 0): Committed(5, 0, "note"), ("t", 1): Committed(6, 0, "")}
    }


@pytest.mark.parametrize(("version", "member"), [(2, ("g", "", None, -1)), (3, ("g", "m", "i", 4))])
def test_the_member_is_checked_where_it_is_said(ground, producer, version, member):
    assert ask(ground, producer, [("t", 0, 5, "")], version) == [Code.NONE]
    assert ground.groups.members == [member]


def test_what_cannot_be_committed_is_told_of_each_and_the_others_are(ground, producer):
    offsets = [("t", 0, 5, ""), ("t", 3, 5, ""), ("v", 0, 5, ""), ("t", 1, 5, "x" * 5000)]
    assert ask(ground, producer, offsets) == [
        Code.NONE,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
        Code.OFFSET_METADATA_TOO_LARGE,
    ]
    assert list(ground.groups.pending["g", producer.id]) == [("t", 0)]


def test_a_member_that_is_refused(ground, producer):
    ground.groups.refused = KafkaError(Code.ILLEGAL_GENERATION)
    codes = ask(ground, producer, [("t", 0, 5, ""), ("v", 0, 5, "")])
    assert codes == [Code.ILLEGAL_GENERATION, Code.UNKNOWN_TOPIC_OR_PARTITION]
    assert not ground.groups.pending


def test_a_producer_that_is_refused(ground, producer):
    offsets = [("t", 0, 5, "")]
    assert ask(ground, producer, offsets, group="h") == [Code.INVALID_TXN_STATE]
    assert ask(ground, producer, offsets, id="b") == [Code.INVALID_PRODUCER_ID_MAPPING]
    assert ask(ground, producer, offsets, id="") == [Code.INVALID_REQUEST]
    ground.transactions.end("a", producer, commits=True)
    assert ask(ground, producer, offsets) == [Code.INVALID_TXN_STATE]
    ground.transactions.start("a", 1000)
    for version in API.versions:
        assert ask(ground, producer, offsets, version) == [Code.INVALID_PRODUCER_EPOCH]
    assert not ground.groups.pending


@pytest.mark.parametrize(("error", "code"), [(None, Code.NONE), (DISK_FULL, Code.COORDINATOR_NOT_AVAILABLE)])
def test_it_is_answered_when_they_are_kept(ground, producer, error, code):
    commit = ground.groups.commit = Commit()
    asking = spawn(ask, ground, producer, [("t", 0, 5, "")])
    assert not asking.ready()
    commit.finish(error)
    gevent.idle()
    assert asking.get(timeout=1) == ([code], None)
