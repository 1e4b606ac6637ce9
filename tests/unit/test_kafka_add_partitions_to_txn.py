from __future__ import annotations

import pytest
from kafka.protocol.producer import AddPartitionsToTxnRequest

from gstream.kafka.add_partitions_to_txn import API, handle
from gstream.kafka.api import Context
from gstream.kafka.codes import Code
from tests.unit.transaction_ground import MINUTE, FakeTopic, Ground

Topic = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic


@pytest.fixture
def ground(time):
    ground = Ground(time)
    ground.broker.topics["u"] = FakeTopic(1)
    return ground


def ask(ground, identity, topics, version=3, id="a"):
    request = AddPartitionsToTxnRequest(
        v3_and_below_transactional_id=id,
        v3_and_below_producer_id=identity[0],
        v3_and_below_producer_epoch=identity[1],
        v3_and_below_topics=[Topic(name=name, partitions=list(partitions)) for name, partitions in topics],
    )
    reply = handle(ground, request, Context(version))
    return [
        (topic.name, each.partition_index, Code(each.partition_error_code))
        for topic in reply.results_by_topic_v3_and_below
        for each in topic.results_by_partition
    ]


def test_what_it_is():
    assert (API.key, API.name, list(API.versions)) == (24, "AddPartitionsToTxn", [0, 1, 2, 3])


def test_partitions_take_part(ground):
    identity = ground.transactions.start("a", MINUTE)
    answers = ask(ground, identity, [("t", (0, 2)), ("u", (0,))])
    assert answers == [("t", 0, Code.NONE), ("t", 2, Code.NONE), ("u", 0, Code.NONE)]
    for topic, partition in (("t", 0), ("t", 2), ("u", 0)):
        ground.transactions.check_produce(*identity, "a", topic, partition)
    assert ask(ground, identity, [("t", (0,))]) == [("t", 0, Code.NONE)], "again"


def test_if_one_is_not_there_none_takes_part(ground):
    identity = ground.transactions.start("a", MINUTE)
    assert ask(ground, identity, [("t", (0, 3)), ("v", (0,)), ("u", (0, -1))]) == [
        ("t", 0, Code.OPERATION_NOT_ATTEMPTED),
        ("t", 3, Code.UNKNOWN_TOPIC_OR_PARTITION),
        ("v", 0, Code.UNKNOWN_TOPIC_OR_PARTITION),
        ("u", 0, Code.OPERATION_NOT_ATTEMPTED),
        ("u", -1, Code.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    assert ground.transactions.open_count == 0


def test_what_is_refused_is_refused_of_each(ground):
    first = ground.transactions.start("a", MINUTE)
    ground.transactions.start("a", MINUTE)
    asked = [("t", (0, 1))]
    for version, code in ((1, Code.INVALID_PRODUCER_EPOCH), (2, Code.PRODUCER_FENCED), (3, Code.PRODUCER_FENCED)):
        assert ask(ground, first, asked, version) == [("t", 0, code), ("t", 1, code)]
    assert ask(ground, first, asked, id="b")[0] == ("t", 0, Code.INVALID_PRODUCER_ID_MAPPING)
    assert ask(ground, first, asked, id="")[0] == ("t", 0, Code.INVALID_REQUEST)
