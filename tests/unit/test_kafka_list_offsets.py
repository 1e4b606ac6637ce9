"""ListOffsets: where a partition begins and ends, and which record belongs to a time."""

from __future__ import annotations

import pytest
from kafka.protocol.consumer import ListOffsetsRequest, ListOffsetsResponse

from gstream.errors import DiskError
from gstream.kafka.codes import Code
from gstream.kafka.list_offsets import API
from tests.unit.kafka_logs import TIME_MS, FakeTopic, context, make_node

LATEST, EARLIEST, NEWEST, EARLIEST_LOCAL = -1, -2, -3, -4


def ask(node, *partitions, version=8, isolation=0, epoch=-1):
    """Code, time, offset and epoch for each (partition, time), in a topic called jobs."""
    topic = ListOffsetsRequest.ListOffsetsTopic
    made = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=isolation,
        topics=[
            topic(
                name="jobs",
                partitions=[
                    topic.ListOffsetsPartition(partition_index=index, timestamp=time_ms, current_leader_epoch=epoch)
                    for index, time_ms in partitions
                ],
            )
        ],
    )
    request = ListOffsetsRequest.decode(made.encode(version=version), version=version)
    response = API.handle(node, request, context(version))
    response = ListOffsetsResponse.decode(response.encode(version=version), version=version)
    (topic,) = response.topics
    assert topic.name == "jobs"
    assert [each.partition_index for each in topic.partitions] == [index for index, _ in partitions]
    return [(each.error_code, each.timestamp, each.offset, each.leader_epoch) for each in topic.partitions]


@pytest.fixture
def topic():
    made = FakeTopic(partitions=2)
    log = made.partitions[0]
    log.oldest_offset, log.end_offset = 5, 100
    log.newest = (42, TIME_MS + 9)
    log.times = {TIME_MS: (17, TIME_MS + 1)}
    return made


@pytest.mark.parametrize("version", API.versions)
def test_each_version(topic, version):
    epoch = 0 if version >= 4 else -1
    assert ask(make_node(topic), (0, LATEST), version=version) == [(0, -1, 100, epoch)]
    assert ask(make_node(topic), (0, EARLIEST), version=version) == [(0, -1, 5, epoch)]
    assert ask(make_node(topic), (0, TIME_MS), version=version) == [(0, TIME_MS + 1, 17, epoch)]


def test_the_newest_record(topic):
    assert ask(make_node(topic), (0, NEWEST)) == [(0, TIME_MS + 9, 42, 0)]
    topic.partitions[0].newest = None
    assert ask(make_node(topic), (0, NEWEST)) == [(0, -1, -1, -1)]


def test_the_beginning_of_what_is_here_is_the_beginning(topic):
    assert ask(make_node(topic), (0, EARLIEST_LOCAL)) == [(0, -1, 5, 0)]


@pytest.mark.parametrize(("time_ms", "version"), [(NEWEST, 6), (EARLIEST_LOCAL, 7), (-5, 8), (-(2**62), 8)])
def test_what_a_version_does_not_know(topic, time_ms, version):
    assert ask(make_node(topic), (0, time_ms), version=version) == [(Code.UNSUPPORTED_VERSION, -1, -1, -1)]


def test_a_time_after_all_records(topic):
    assert ask(make_node(topic), (0, TIME_MS + 10)) == [(0, -1, -1, -1)]


def test_an_empty_partition(topic):
    assert ask(make_node(topic), (1, EARLIEST)) == [(0, -1, 0, 0)]
    assert ask(make_node(topic), (1, LATEST)) == [(0, -1, 0, 0)]


def test_only_what_is_decided(topic):
    topic.partitions[0].undecided = 17
    node = make_node(topic)
    for time_ms, offset in ((LATEST, 17), (EARLIEST, 5), (TIME_MS, -1), (NEWEST, -1)):
        assert ask(node, (0, time_ms), isolation=1)[0][2] == offset
    topic.partitions[0].undecided = 18
    assert ask(node, (0, TIME_MS), isolation=1)[0][2] == 17
    assert ask(node, (0, LATEST))[0][2] == 100, "who does not ask for it gets all"


def test_a_partition_that_there_is_not(topic):
    node = make_node(topic)
    assert [row[0] for row in ask(node, (2, LATEST), (-1, EARLIEST), (1, LATEST))] == [3, 3, 0]


def test_a_topic_that_there_is_not_is_not_made():
    node = make_node()
    assert ask(node, (0, LATEST)) == [(Code.UNKNOWN_TOPIC_OR_PARTITION, -1, -1, -1)]
    assert not node.broker.topics


def test_a_partition_that_is_asked_for_twice(topic):
    found = ask(make_node(topic), (0, LATEST), (0, EARLIEST), (1, LATEST))
    assert [row[0] for row in found] == [0, Code.INVALID_REQUEST, 0]


def test_another_leaders_epoch(topic):
    assert ask(make_node(topic), (0, LATEST), epoch=1)[0][0] == Code.UNKNOWN_LEADER_EPOCH
    assert ask(make_node(topic), (0, LATEST), epoch=0)[0][0] == 0


def test_a_disk_that_fails(topic):
    topic.partitions[0].error = DiskError("it is broken")
    assert ask(make_node(topic), (0, TIME_MS), (1, LATEST)) == [(Code.KAFKA_STORAGE_ERROR, -1, -1, -1), (0, -1, 0, 0)]
