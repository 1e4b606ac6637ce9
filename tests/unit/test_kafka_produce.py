"""Produce: what is stored, what is refused and with which code, and when it is answered."""

from __future__ import annotations

import gevent
import pytest
from kafka.protocol.producer import ProduceResponse

from gstream.commit import Commit
from gstream.errors import DiskError, DiskFullError, FullError
from gstream.header import unpack_header
from gstream.kafka.api import Deferred
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.produce import API
from gstream.kafka.produce_codec import ProduceRequest, TopicData
from gstream.kafka.receiving import RefusedError
from gstream.records import encode_marker
from gstream.storage.producers import DuplicateSequenceError, OutOfOrderError, StaleEpochError
from gstream.topic_options import TopicOptions
from tests.unit.kafka_logs import TIME_MS, FakeTopic, answered, context, make_node, records_batch

BATCH = records_batch(3)


def request(*partitions, acks=-1, name="jobs", transactional_id=None):
    views = [(index, None if data is None else memoryview(data)) for index, data in partitions]
    return ProduceRequest(transactional_id, acks, 1000, [TopicData(name, views)])


def rows(reply, version=9):
    """Of each partition: its number, code, offset, the append's time, the oldest offset and what is said in words."""
    (body,) = answered(reply)
    return [
        (
            each.index,
            each.error_code,
            each.base_offset,
            each.log_append_time_ms,
            each.log_start_offset,
            each.error_message,
        )
        for topic in ProduceResponse.decode(body, version=version).responses
        for each in topic.partition_responses
    ]


def produce(node, asked, version=9):
    return rows(API.handle(node, asked, context(version)), version)


def refusal(node, asked, version=9):
    ((_, code, offset, append_ms, start, message),) = produce(node, asked, version)
    assert (offset, append_ms, start) == (-1, -1, -1)
    return code, message


def test_a_batch_is_stored_as_it_came():
    topic = FakeTopic()
    topic.partitions[0].end_offset = 4711
    topic.partitions[0].oldest_offset = 12
    assert produce(make_node(topic), request((0, BATCH))) == [(0, 0, 4711, -1, 12, None)]
    assert topic.appended == [(0, BATCH)]
    assert topic.is_log, "what Kafka's clients use keeps what was read"


def test_each_partition_of_each_topic():
    jobs, mails = FakeTopic("jobs", 3), FakeTopic("mails")
    asked = ProduceRequest(
        None,
        1,
        0,
        [
            TopicData("jobs", [(2, memoryview(BATCH)), (3, memoryview(BATCH)), (0, memoryview(BATCH))]),
            TopicData("mails", [(0, memoryview(BATCH))]),
            TopicData("nobody", [(0, memoryview(BATCH))]),
        ],
    )
    missing = int(Code.UNKNOWN_TOPIC_OR_PARTITION)
    assert [row[:3] for row in produce(make_node(jobs, mails), asked)] == [
        (2, 0, 0),
        (3, missing, -1),
        (0, 0, 0),
        (0, 0, 0),
        (0, missing, -1),
    ]
    assert [partition for partition, _ in jobs.appended] == [2, 0]
    assert len(mails.appended) == 1


@pytest.mark.parametrize("index", [-1, 1, 2**31 - 1])
def test_a_partition_that_there_is_not(index):
    node = make_node(FakeTopic())
    assert refusal(node, request((index, BATCH)))[0] == Code.UNKNOWN_TOPIC_OR_PARTITION


def test_a_topic_that_there_is_not_is_not_made():
    node = make_node()
    assert refusal(node, request((0, BATCH)))[0] == Code.UNKNOWN_TOPIC_OR_PARTITION
    assert not node.broker.topics


@pytest.mark.parametrize("acks", [-2, 2, 32767])
def test_acks_that_cannot_be_had(acks):
    topic = FakeTopic(partitions=2)
    found = produce(make_node(topic), request((0, BATCH), (1, BATCH), acks=acks))
    assert [row[1] for row in found] == [Code.INVALID_REQUIRED_ACKS] * 2
    assert not topic.appended
    assert not topic.is_log


def test_without_acks_nothing_is_answered():
    topic = FakeTopic()
    assert API.handle(make_node(topic), request((0, BATCH), acks=0), context(9)) is None
    topic.partitions[0].commit = commit = Commit()
    reply = API.handle(make_node(topic), request((0, BATCH), acks=0), context(9))
    assert isinstance(reply, Deferred), "the client is not read from while too much is on its way"
    assert reply.commit is commit
    assert reply.finish() is None
    assert len(topic.appended) == 2


@pytest.mark.parametrize("data", [b"x", BATCH])
def test_without_acks_the_connection_ends_when_something_is_wrong(data):
    with pytest.raises(RefusedError, match=r"nobody:0 with acks=0"):
        API.handle(make_node(), request((0, data), acks=0, name="nobody"), context(9))


@pytest.mark.parametrize("version", range(3))
def test_old_versions_are_refused(version):
    topic = FakeTopic()
    ((index, code, *_),) = [
        (each.index, each.error_code)
        for responses in ProduceResponse.decode(
            API.handle(make_node(topic), request((0, BATCH)), context(version))[0], version=version
        ).responses
        for each in responses.partition_responses
    ]
    assert (index, code) == (0, Code.UNSUPPORTED_VERSION)
    assert not topic.appended


@pytest.mark.parametrize("version", range(3, 10))
def test_a_fault_is_said_in_words_to_those_who_read_them(version):
    code, message = refusal(make_node(FakeTopic()), request((0, BATCH + BATCH)), version)
    assert code == Code.INVALID_RECORD
    assert (message is not None) == (version >= 8)


REFUSED = {
    "none": (None, Code.INVALID_RECORD),
    "cut off": (BATCH[:-1], Code.CORRUPT_MESSAGE),
    "a marker": (encode_marker(4000, 0, commits=True, time_ms=0), Code.INVALID_RECORD),
}


@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_such_batch(data, code):
    topic = FakeTopic()
    assert refusal(make_node(topic), request((0, data)))[0] == code
    assert not topic.appended


RAISED = {
    "full": (FullError("no room; consume"), Code.KAFKA_STORAGE_ERROR),
    "disk": (DiskError("the disk is gone"), Code.KAFKA_STORAGE_ERROR),
    "a gap": (OutOfOrderError("7 was due"), Code.OUT_OF_ORDER_SEQUENCE_NUMBER),
    "an old epoch": (StaleEpochError("epoch 2"), Code.INVALID_PRODUCER_EPOCH),
    "an old batch": (DuplicateSequenceError("long ago"), Code.DUPLICATE_SEQUENCE_NUMBER),
}


@pytest.mark.parametrize(("error", "code"), RAISED.values(), ids=RAISED)
def test_what_the_log_refuses(error, code):
    topic = FakeTopic()
    topic.error = error
    assert refusal(make_node(topic), request((0, BATCH))) == (code, str(error))


def test_a_batch_that_was_sent_again_has_its_old_offset():
    topic = FakeTopic()
    topic.duplicate = 17
    assert produce(make_node(topic), request((0, BATCH)))[0][:3] == (0, 0, 17)


def test_a_topics_own_limit():
    topic = FakeTopic()
    topic.options = TopicOptions(max_message_bytes=len(BATCH) - 1)
    code, message = refusal(make_node(topic), request((0, BATCH)))
    assert code == Code.MESSAGE_TOO_LARGE
    assert "max.message.bytes" in message
    topic.options = TopicOptions(max_message_bytes=len(BATCH))
    assert produce(make_node(topic), request((0, BATCH)))[0][1] == 0


def test_the_servers_limit():
    node = make_node(FakeTopic())
    largest = node.config.max_message_bytes + 12
    fitting = records_batch(value=b"x" * (largest - len(records_batch(value=b"")) - 6))
    assert len(fitting) <= largest < len(fitting) + 8
    assert produce(node, request((0, fitting)))[0][1] == 0
    assert refusal(node, request((0, records_batch(value=b"x" * largest))))[0] == Code.MESSAGE_TOO_LARGE


def test_times_of_the_append():
    topic = FakeTopic()
    topic.options = TopicOptions(append_time=True)
    assert produce(make_node(topic), request((0, BATCH))) == [(0, 0, 0, TIME_MS, 0, None)]
    ((_, stored),) = topic.appended
    header = unpack_header(stored)
    assert (header.attributes & 8, header.max_ms) == (8, TIME_MS)
    assert stored[61:] == BATCH[61:], "its records are as they came"


# --- when it is answered


def test_it_is_answered_when_all_is_stored():
    jobs = FakeTopic(partitions=2)
    first, second = jobs.partitions[0].commit, jobs.partitions[1].commit = Commit(), Commit()
    reply = API.handle(make_node(jobs), request((0, BATCH), (1, BATCH), (2, BATCH)), context(9))
    assert isinstance(reply, Deferred)
    first.is_done = True
    assert not reply.commit.is_done
    second.is_done = True
    assert [row[1] for row in rows(reply.finish())] == [0, 0, Code.UNKNOWN_TOPIC_OR_PARTITION]


def test_what_could_not_be_stored_is_told():
    topic = FakeTopic(partitions=2)
    good, bad = topic.partitions[0].commit, topic.partitions[1].commit = Commit(), Commit()
    reply = API.handle(make_node(topic), request((0, BATCH), (1, BATCH)), context(9))
    good.is_done = bad.is_done = True
    bad.error = DiskFullError("no space left; remove something")
    assert rows(reply.finish()) == [
        (0, 0, 0, -1, 0, None),
        (1, Code.KAFKA_STORAGE_ERROR, -1, -1, -1, "no space left; remove something"),
    ]


def test_what_is_stored_at_once_is_answered_at_once():
    assert isinstance(API.handle(make_node(FakeTopic()), request((0, BATCH)), context(9)), list)


# --- transactions


TRANSACTIONAL = records_batch(2, producer_id=4000, producer_epoch=3, base_sequence=0, is_transactional=True)


def test_a_transaction_is_asked_for():
    topic = FakeTopic()
    node = make_node(topic)
    assert produce(node, request((0, TRANSACTIONAL), transactional_id="pay"))[0][1] == 0
    assert node.transactions.asked == [(4000, 3, "pay", "jobs", 0)]
    assert len(topic.appended) == 1


def test_what_is_in_no_transaction_is_not_stored():
    topic = FakeTopic()
    node = make_node(topic)
    node.transactions.error = KafkaError(Code.INVALID_TXN_STATE)
    assert refusal(node, request((0, TRANSACTIONAL)))[0] == Code.INVALID_TXN_STATE
    assert not topic.appended


def test_nobody_asks_for_other_batches():
    node = make_node(FakeTopic())
    produce(node, request((0, BATCH), transactional_id="pay"))
    assert not node.transactions.asked


# --- others, meanwhile


def test_many_batches_let_others_have_their_turns():
    topic = FakeTopic()
    turns = []
    others = gevent.spawn(lambda: [turns.append(len(topic.appended)) or gevent.sleep(0) for _ in range(3)])
    produce(make_node(topic), request(*[(0, BATCH)] * 2000))
    others.join()
    assert len(topic.appended) == 2000
    assert any(0 < each < 2000 for each in turns)


def test_a_topic_that_is_removed_between_two_batches():
    topic = FakeTopic()
    plain = topic.append_records

    def append_records(*given):
        topic.removed = True
        return plain(*given)

    topic.append_records = append_records
    found = produce(make_node(topic), request((0, BATCH), (0, BATCH)))
    assert [row[1] for row in found] == [0, Code.UNKNOWN_TOPIC_OR_PARTITION]


def test_it_is_not_answered_before_it_is_kept_that_the_topic_is_a_log():
    topic = FakeTopic()
    kept = Commit()
    topic.make_log = lambda: kept
    reply = API.handle(make_node(topic), request((0, BATCH)), context(9))
    assert isinstance(reply, Deferred)
    assert reply.commit is kept
    assert [row[1] for row in rows(reply.finish())] == [0]


def test_without_acks_the_connection_ends_when_something_cannot_be_stored_after_all():
    topic = FakeTopic()
    topic.partitions[0].commit = commit = Commit()
    reply = API.handle(make_node(topic), request((0, BATCH), acks=0), context(9))
    assert isinstance(reply, Deferred)
    commit.is_done, commit.error = True, DiskFullError("no space left")
    with pytest.raises(RefusedError, match="acks=0 cannot be stored: no space left"):
        reply.finish()
