"""Metadata (3), versions 0 to 12: the broker, and topics with their partitions.

Makes topics that are asked for by name and do not exist, if the server (``--kafka-auto-create``) and, since version 4,
the client say so (KIP-361). Topics are also found by their ids (version 12; KIP-516). An empty list asks for all topics
in version 0 and for none later; null asks for all. The address is the one that the client has connected to, which it
can reach, unless ``--kafka-advertise`` is given.

A new id is told when it is kept: after a crash the topic must not have another one.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from gstream.kafka import metadata_reply
from gstream.kafka.api import Api, Context, Deferred, Reply
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.metadata_reply import NO_ID, TopicReply
from gstream.kafka.operations import CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS, bits_of
from gstream.kafka.topics import check_name, find, find_or_make

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["API"]

CREATION_FROM = 4
OPERATIONS_FROM = 8
CLUSTER_OPERATIONS_IN = range(8, 11)
IDS_FROM = 10


def handle(node: Node, request: MetadataRequest, context: Context) -> Reply:
    """Tell of the topics that are asked for."""
    version = context.version
    asked_operations = version >= OPERATIONS_FROM and request.include_topic_authorized_operations
    operations = bits_of(TOPIC_OPERATIONS) if asked_operations else NOT_ASKED
    wanted = request.topics
    if wanted is None or (version == 0 and not wanted):
        rows = [_tell(node, topic, version, operations) for topic in _all(node)]
    else:
        makes = version < CREATION_FROM or request.allow_auto_topic_creation
        rows = [_find(node, topic.name, _id_of(topic, version), version, operations, makes=makes) for topic in wanted]
    cluster = version in CLUSTER_OPERATIONS_IN and request.include_cluster_authorized_operations
    broker = node.node_id, *node.advertised(context)
    may = bits_of(CLUSTER_OPERATIONS) if cluster else NOT_ASKED
    reply = metadata_reply.encode(version, broker, node.cluster_id, rows, may)
    if version < IDS_FROM or node.ids_commit is None or node.ids_commit.is_done:
        return reply
    return Deferred(node.ids_commit, lambda: reply)  # whether they could be kept or not


def _id_of(topic: MetadataRequest.MetadataRequestTopic, version: int) -> uuid.UUID:
    # An id of zeros is decoded as None.
    return (topic.topic_id or NO_ID) if version >= IDS_FROM else NO_ID


def _all(node: Node) -> list[Topic]:
    # The line protocol lets topics be called "." and "..", which no Kafka client would take.
    return [topic for name, topic in node.broker.topics.items() if name not in {".", ".."}]


def _tell(node: Node, topic: Topic, version: int, operations: int) -> TopicReply:
    id = node.topic_id(topic) if version >= IDS_FROM else NO_ID
    return TopicReply(topic.name, len(topic.partitions), id, Code.NONE, operations)


def _find(node: Node, name: str | None, id: uuid.UUID, version: int, operations: int, *, makes: bool) -> TopicReply:
    if id != NO_ID or name is None:  # Kafka's own client sends an empty name with the id
        topic = node.find_by_id(id)
        if topic is None:
            return TopicReply(None, id=id, code=Code.UNKNOWN_TOPIC_ID)
        return _tell(node, topic, version, operations)
    try:
        if makes:
            return _tell(node, find_or_make(node, name), version, operations)
        topic = find(node, name)
        if topic is not None:
            return _tell(node, topic, version, operations)
        check_name(name)
    except KafkaError as error:
        return TopicReply(name, code=error.code)
    return TopicReply(name, code=Code.UNKNOWN_TOPIC_OR_PARTITION)


API = Api(3, "Metadata", range(13), handle, MetadataRequest, MetadataResponse)
