"""DeleteRecords: a partition begins later from now on."""

from __future__ import annotations

import pytest
from kafka.protocol.admin import DeleteRecordsRequest, DeleteRecordsResponse

from gstream.commit import Commit
from gstream.errors import DiskError, DiskFullError
from gstream.kafka.api import Deferred
from gstream.kafka.codes import Code
from gstream.kafka.delete_records import API
from tests.unit.kafka_logs import FakeTopic, answered, context, make_node


def handle(node, *partitions, version=2):
    """The reply to a request to delete what lies before each (partition, offset), in a topic called jobs."""
    topic = DeleteRecordsRequest.DeleteRecordsTopic
    made = DeleteRecordsRequest(
        topics=[
            topic(
                name="jobs",
                partitions=[
                    topic.DeleteRecordsPartition(partition_index=index, offset=offset) for index, offset in partitions
                ],
            )
        ],
        timeout_ms=1000,
    )
    request = DeleteRecordsRequest.decode(made.encode(version=version), version=version)
    return API.handle(node, request, context(version))


def rows(reply, version=2):
    """Partition, code, and where it begins now."""
    response = DeleteRecordsResponse.decode(answered(reply).encode(version=version), version=version)
    (topic,) = response.topics
    assert topic.name == "jobs"
    return [(each.partition_index, each.error_code, each.low_watermark) for each in topic.partitions]


@pytest.fixture
def topic():
    made = FakeTopic(partitions=2)
    for log in made.partitions:
        log.oldest_offset, log.end_offset = 5, 100
    return made


@pytest.mark.parametrize("version", API.versions)
def test_each_version(topic, version):
    node = make_node(topic)
    assert rows(handle(node, (0, 42), (1, -1), version=version), version) == [(0, 0, 42), (1, 0, 100)]
    assert [log.oldest_offset for log in topic.partitions] == [42, 100]


@pytest.mark.parametrize("offset", [0, 4, 5])
def test_what_is_gone_already(topic, offset):
    assert rows(handle(make_node(topic), (0, offset))) == [(0, 0, 5)]


@pytest.mark.parametrize("offset", [-2, 101, 2**62])
def test_an_offset_out_of_range(topic, offset):
    assert rows(handle(make_node(topic), (0, offset))) == [(0, Code.OFFSET_OUT_OF_RANGE, -1)]
    assert topic.partitions[0].oldest_offset == 5


def test_a_partition_that_there_is_not(topic):
    assert rows(handle(make_node(topic), (2, 7), (1, 7))) == [(2, Code.UNKNOWN_TOPIC_OR_PARTITION, -1), (1, 0, 7)]
    assert rows(handle(make_node(), (0, 7))) == [(0, Code.UNKNOWN_TOPIC_OR_PARTITION, -1)]


def test_a_disk_that_fails(topic):
    topic.partitions[0].error = DiskError("it is broken")
    assert rows(handle(make_node(topic), (0, 7))) == [(0, Code.KAFKA_STORAGE_ERROR, -1)]


def test_it_is_answered_when_it_is_kept(topic):
    good, bad = topic.partitions[0].commit, topic.partitions[1].commit = Commit(), Commit()
    reply = handle(make_node(topic), (0, 7), (1, 8))
    assert isinstance(reply, Deferred)
    bad.is_done, bad.error = True, DiskFullError("no space left")
    assert not reply.commit.is_done
    good.is_done = True
    assert rows(reply.finish()) == [(0, 0, 7), (1, Code.KAFKA_STORAGE_ERROR, -1)]
