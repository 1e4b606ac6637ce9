"""AddPartitionsToTxn (24), versions 0 to 3: a producer says where it is going to write in its transaction (KIP-98).

All of the partitions are added, or none. Version 2 knows PRODUCER_FENCED; from version 4 on, which is for brokers among
themselves, it is not served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka.protocol.producer import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse

from gstream.kafka.api import Api, Context, Reply
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.rows import in_turns
from gstream.kafka.topics import partition
from gstream.kafka.transaction import Identity, Partition
from gstream.kafka.transactions import code_in

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

MAX_BYTES = 256 * 1024
"""A reply has a row for every few bytes of a request, and takes a while."""

FENCED_FROM = 2

TopicResult = AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult
PartitionResult = TopicResult.AddPartitionsToTxnPartitionResult


def handle(node: Node, request: AddPartitionsToTxnRequest, context: Context) -> Reply:
    """Add them to the transaction of the producer. Blocks until that is kept."""
    named = ((topic.name, index) for topic in request.v3_and_below_topics for index in topic.partitions)
    asked: list[Partition] = list(dict.fromkeys(in_turns(named)))
    codes = _missing(node, asked)
    if not codes:
        identity = Identity(request.v3_and_below_producer_id, request.v3_and_below_producer_epoch)
        code = Code.NONE
        try:
            node.transactions.add_partitions(request.v3_and_below_transactional_id, identity, asked)
        except KafkaError as error:
            code = code_in(context.version, FENCED_FROM, error)
        codes = dict.fromkeys(asked, code)
    results = [
        TopicResult(
            name=topic.name,
            results_by_partition=[
                PartitionResult(partition_index=index, partition_error_code=codes[topic.name, index])
                for index in in_turns(topic.partitions)
            ],
        )
        for topic in request.v3_and_below_topics
    ]
    return AddPartitionsToTxnResponse(throttle_time_ms=0, results_by_topic_v3_and_below=results)


def _missing(node: Node, asked: list[Partition]) -> dict[Partition, Code]:
    """If some of them are not there, what is answered for each; else nothing."""
    codes: dict[Partition, Code] = {}
    for each in asked:
        try:
            partition(node, *each)
        except KafkaError as error:
            codes[each] = error.code
    if not codes:
        return codes
    return {each: codes.get(each, Code.OPERATION_NOT_ATTEMPTED) for each in asked}


API = Api(
    24,
    "AddPartitionsToTxn",
    range(4),
    handle,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    max_bytes=MAX_BYTES,
)
