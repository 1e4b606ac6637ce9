"""The reply in which everything has failed: what a request names has the error, in the shape of each API."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from kafka.protocol.consumer import FetchRequest, FetchResponse, OffsetFetchRequest, OffsetFetchResponse
from kafka.protocol.producer import ProduceRequest, ProduceResponse

from gstream.kafka.codes import Code
from gstream.kafka.failing import failed
from gstream.kafka.table import TABLE


def again(reply: Any, response: Any, version: int) -> Any:
    """What a client reads."""
    return response.decode(reply.encode(version=version), version=version)


def test_every_partition_of_a_produce_request() -> None:
    topic = ProduceRequest.TopicProduceData
    partitions = [topic.PartitionProduceData(index=index, records=b"") for index in (3, 5)]
    request = ProduceRequest(
        transactional_id=None, acks=1, timeout_ms=1, topic_data=[topic(name="t", partition_data=partitions)]
    )
    reply = again(failed(request, ProduceResponse, Code.INVALID_RECORD, 9), ProduceResponse, 9)
    (told,) = reply.responses
    assert told.name == "t"
    assert [(each.index, each.error_code) for each in told.partition_responses] == [(3, 87), (5, 87)]


def test_a_fetch_fails_for_its_partitions_and_not_for_its_session() -> None:
    topic = FetchRequest.FetchTopic
    partition = topic.FetchPartition(partition=2, fetch_offset=0, partition_max_bytes=1)
    request = FetchRequest(topics=[topic(topic="t", partitions=[partition])])
    reply = again(failed(request, FetchResponse, Code.NOT_LEADER_OR_FOLLOWER, 12), FetchResponse, 12)
    assert reply.error_code == 0
    assert [(each.topic, each.partitions[0].partition_index) for each in reply.responses] == [("t", 2)]
    assert reply.responses[0].partitions[0].error_code == 6


@pytest.mark.parametrize("version", [13, 17])
def test_a_fetch_of_topics_by_their_ids(version: int) -> None:
    topic = FetchRequest.FetchTopic
    partition = topic.FetchPartition(partition=2, fetch_offset=0, partition_max_bytes=1)
    id = uuid.UUID(int=7)
    request = FetchRequest(topics=[topic(topic_id=id, partitions=[partition])])
    reply = again(failed(request, FetchResponse, Code.NOT_LEADER_OR_FOLLOWER, version), FetchResponse, version)
    assert [(each.topic_id, each.partitions[0].partition_index) for each in reply.responses] == [(id, 2)]
    assert reply.responses[0].partitions[0].error_code == 6


@pytest.mark.parametrize(("version", "where"), [(1, "partition"), (7, "top"), (8, "group")])
def test_the_error_stands_where_that_version_has_it(version: int, where: str) -> None:
    topic = OffsetFetchRequest.OffsetFetchRequestTopic(name="t", partition_indexes=[4])
    group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=None)
    request = OffsetFetchRequest(group_id="g", topics=[topic], groups=[group])
    reply = again(failed(request, OffsetFetchResponse, Code.NOT_COORDINATOR, version), OffsetFetchResponse, version)
    if where == "partition":
        assert (reply.topics[0].partitions[0].partition_index, reply.topics[0].partitions[0].error_code) == (4, 16)
    elif where == "top":
        assert (reply.error_code, reply.topics) == (16, [])
    else:
        assert [(each.group_id, each.error_code, each.topics) for each in reply.groups] == [("g", 16, [])]


@pytest.mark.parametrize(
    ("api", "version"),
    [(api, version) for api in TABLE.values() for version in api.versions],
    ids=lambda each: getattr(each, "name", str(each)),
)
def test_each_api_in_each_version_can_fail(api: Any, version: int) -> None:
    reply = failed(api.request(version=version), api.response, Code.REQUEST_TIMED_OUT, version)
    if api.name == "ApiVersions":  # its error comes first, and the library reads all versions as the first one
        assert reply.encode(version=version)[:2] == b"\0\x07"
    else:
        assert again(reply, api.response, version) is not None
