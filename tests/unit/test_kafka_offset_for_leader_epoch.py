"""OffsetForLeaderEpoch: the one epoch ends where the partition does."""

from __future__ import annotations

import pytest
from kafka.protocol.consumer import OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse

from gstream.kafka.codes import Code
from gstream.kafka.offset_for_leader_epoch import API
from tests.unit.kafka_logs import FakeTopic, context, make_node


def ask(node, *partitions, version=4):
    """Code, epoch and end for each (partition, epoch asked for, leader's epoch), in a topic called jobs."""
    topic = OffsetForLeaderEpochRequest.OffsetForLeaderTopic
    made = OffsetForLeaderEpochRequest(
        replica_id=-1,
        topics=[
            topic(
                topic="jobs",
                partitions=[
                    topic.OffsetForLeaderPartition(partition=index, leader_epoch=epoch, current_leader_epoch=current)
                    for index, epoch, current in partitions
                ],
            )
        ],
    )
    request = OffsetForLeaderEpochRequest.decode(made.encode(version=version), version=version)
    response = API.handle(node, request, context(version))
    response = OffsetForLeaderEpochResponse.decode(response.encode(version=version), version=version)
    (topic,) = response.topics
    assert topic.topic == "jobs"
    assert [each.partition for each in topic.partitions] == [index for index, *_ in partitions]
    return [(each.error_code, each.leader_epoch, each.end_offset) for each in topic.partitions]


@pytest.fixture
def node():
    topic = FakeTopic(partitions=2)
    topic.partitions[0].end_offset = 100
    return make_node(topic)


@pytest.mark.parametrize("version", API.versions)
def test_each_version(node, version):
    epoch = 0 if version >= 1 else -1
    assert ask(node, (0, 0, -1), (1, 0, -1), version=version) == [(0, epoch, 100), (0, epoch, 0)]


@pytest.mark.parametrize("epoch", [-1, 1, 2**31 - 1])
def test_another_epoch_is_unknown(node, epoch):
    assert ask(node, (0, epoch, 0)) == [(0, -1, -1)]


def test_what_is_wrong(node):
    assert ask(node, (2, 0, -1), (0, 0, 1)) == [
        (Code.UNKNOWN_TOPIC_OR_PARTITION, -1, -1),
        (Code.UNKNOWN_LEADER_EPOCH, -1, -1),
    ]
    assert ask(make_node(), (0, 0, -1)) == [(Code.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)]
