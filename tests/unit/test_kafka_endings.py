"""How transactions end in logs as they are; the other tests of endings are in test_kafka_transactions.py."""

from __future__ import annotations

import pytest

from gstream.batch import pack
from gstream.broker import Broker
from gstream.header import unpack_header
from gstream.kafka.producer_ids import ProducerIds
from gstream.kafka.transactions import Transactions
from gstream.record import Record
from gstream.records import encode_batch
from gstream.storage.memory import Memory
from tests.unit.transaction_ground import MINUTE, FakeGroups

MAX_BYTES = 10_000


@pytest.fixture
def broker(time):
    return Broker(Memory(MAX_BYTES, clock=time.clock), time.agenda)


@pytest.fixture
def transactions(broker, time):
    facts = broker.engine.facts
    return Transactions(broker, FakeGroups(), facts, ProducerIds(facts, time.clock), time.clock)


def produce(topic, identity, sequence=0, size=1):
    batch = encode_batch(
        [Record(0, 1000, None, b"x" * size, ())],
        producer_id=identity.id,
        producer_epoch=identity.epoch,
        base_sequence=sequence,
        is_transactional=True,
    )
    return topic.append_records(0, batch, unpack_header(batch))


@pytest.mark.parametrize("commits", [True, False])
def test_a_log_knows_how_it_has_ended(broker, transactions, commits):
    topic = broker.topic("t")
    log = topic.partitions[0]
    identity = transactions.start("a", MINUTE)
    transactions.add_partitions("a", identity, [("t", 0)])
    produce(topic, identity)
    assert log.stable_offset == 0
    transactions.end("a", identity, commits=commits)
    assert log.stable_offset == log.end_offset == 2
    assert log.aborted(0, 2) == ([] if commits else [(identity.id, 0)])


def test_a_producer_that_was_given_up_is_refused_by_the_log(broker, transactions, time):
    topic = broker.topic("t")
    identity = transactions.start("a", 1000)
    transactions.add_partitions("a", identity, [("t", 0)])
    produce(topic, identity)
    time.sleep(1)
    with pytest.raises(ValueError, match="epoch 1, and not 0"):
        produce(topic, identity, 1)
    following = transactions.start("a", 1000)
    produce(topic, following)
    assert topic.partitions[0].end_offset == 3


def test_a_transaction_ends_although_there_is_no_room(broker, transactions):
    topic = broker.topic("t")
    topic.group()
    identity = transactions.start("a", MINUTE)
    transactions.add_partitions("a", identity, [("t", 0)])
    produce(topic, identity)
    line = pack(b"x" * 50)
    while topic.publish(line, 1):
        pass
    transactions.end("a", identity, commits=True)
    assert transactions.open_count == 0
    assert topic.partitions[0].stable_offset == topic.partitions[0].end_offset


def test_what_a_log_has_open_and_nobody_knows_is_aborted(broker, transactions, time):
    topic = broker.topic("t")
    identity = transactions.start("a", MINUTE)
    produce(topic, identity)
    facts = broker.engine.facts
    again = Transactions(broker, FakeGroups(), facts, ProducerIds(facts, time.clock), time.clock)
    time.run()
    assert topic.partitions[0].stable_offset == 2
    assert topic.partitions[0].aborted(0, 2) == [(identity.id, 0)]
    assert again.open_count == 0


def test_what_a_later_producer_has_open_is_aborted_if_nothing_is_kept_of_that(broker, transactions):
    topic = broker.topic("t")
    identity = transactions.start("a", MINUTE)
    transactions.add_partitions("a", identity, [("t", 0)])
    produce(topic, identity._replace(epoch=1))  # the power failed, and with it went that the epoch is another one now
    transactions.end("a", identity, commits=True)
    assert topic.partitions[0].stable_offset == 2
    assert topic.partitions[0].aborted(0, 2) == [(identity.id, 0)]
