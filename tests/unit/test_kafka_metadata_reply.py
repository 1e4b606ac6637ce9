"""Replies to Metadata byte for byte as the library encodes them, in all versions."""

from __future__ import annotations

import uuid

import pytest
from kafka.protocol.metadata import MetadataResponse

from gstream.kafka.codes import Code
from gstream.kafka.metadata_reply import TopicReply, encode

Topic = MetadataResponse.MetadataResponseTopic
Partition = Topic.MetadataResponsePartition
Broker = MetadataResponse.MetadataResponseBroker

ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
TOPICS = [
    TopicReply("orders", 1, ID),
    TopicReply("ü" * 100, 200, ID, operations=0b110111111000),
    TopicReply("x" * 249, 0, code=Code.INVALID_TOPIC_EXCEPTION),
]


def expected(version, topics, operations):
    made = [
        Topic(
            error_code=topic.code,
            name=topic.name,
            topic_id=topic.id,
            is_internal=False,
            partitions=[
                Partition(
                    error_code=0,
                    partition_index=number,
                    leader_id=1,
                    leader_epoch=0,
                    replica_nodes=[1],
                    isr_nodes=[1],
                    offline_replicas=[],
                )
                for number in range(topic.partitions)
            ],
        )
        for topic in topics
    ]
    reply = MetadataResponse(
        throttle_time_ms=0,
        brokers=[Broker(node_id=1, host="broker.example", port=9092, rack=None)],
        cluster_id="iF2ZbYfJQpGQh0jvLk2a3w",
        controller_id=1,
        topics=made,
    )
    for topic, asked in zip(made, topics, strict=True):
        if asked.operations >= 0:
            topic.authorized_operations = {bit for bit in range(31) if asked.operations >> bit & 1}
    if operations >= 0:
        reply.authorized_operations = {bit for bit in range(31) if operations >> bit & 1}
    return reply.encode(version=version)


@pytest.mark.parametrize("version", range(13))
@pytest.mark.parametrize("topics", [[], TOPICS[:1], TOPICS], ids=["none", "one", "several"])
@pytest.mark.parametrize("operations", [-(1 << 31), 0b1111110100000], ids=["not asked", "asked"])
def test_a_reply_is_encoded_as_the_library_does(version, topics, operations):
    parts = encode(version, (1, "broker.example", 9092), "iF2ZbYfJQpGQh0jvLk2a3w", topics, operations)
    assert b"".join(parts) == expected(version, topics, operations)


def test_a_topic_that_is_asked_for_by_an_unknown_id_has_no_name():
    parts = encode(12, (1, "h", 1), "c", [TopicReply(None, id=ID, code=Code.UNKNOWN_TOPIC_ID)])
    assert b"".join(parts) == expected_nameless()


def expected_nameless():
    return MetadataResponse(
        throttle_time_ms=0,
        brokers=[Broker(node_id=1, host="h", port=1, rack=None)],
        cluster_id="c",
        controller_id=1,
        topics=[Topic(error_code=100, name=None, topic_id=ID, is_internal=False, partitions=[])],
    ).encode(version=12)
