"""Produce by hand: what the library writes is read, what is written is what the library writes, byte for byte."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.protocol.producer import ProduceRequest, ProduceResponse

from gstream.kafka.encoding import MalformedError, encode_unsigned
from gstream.kafka.produce_codec import MAX_PARTITIONS, PartitionReply, decode, encode

VERSIONS = range(3, 10)
OLD_VERSIONS = range(3)
Topic = ProduceRequest.TopicProduceData
Partition = Topic.PartitionProduceData

REQUESTS = {
    "one batch": (None, -1, 30_000, [("jobs", [(0, b"records")])]),
    "several": ("pay", 1, 5, [("jobs", [(0, b"a"), (7, b"b" * 300)]), ("mails", [(2, b"c")])]),
    "nothing": (None, 0, 0, []),
    "a topic without partitions": (None, 1, 0, [("jobs", [])]),
    "no records": (None, 1, 0, [("jobs", [(0, None), (1, b"")])]),
    "long names": ("é" * 100, 1, 0, [("x" * 249, [(0, b"a")])]),
    "many": (None, 1, 0, [("jobs", [(number, b"%d" % number) for number in range(200)])]),
    "odd numbers": (None, -32768, -1, [("jobs", [(-1, b"a"), (2**31 - 1, b"b")])]),
}
"""Name: what is asked for."""


def written(request, version):
    """A request as the library writes it."""
    transactional_id, acks, timeout_ms, topics = request
    made = ProduceRequest(
        transactional_id=transactional_id,
        acks=acks,
        timeout_ms=timeout_ms,
        topic_data=[
            Topic(name=name, partition_data=[Partition(index=index, records=data) for index, data in partitions])
            for name, partitions in topics
        ],
    )
    return made.encode(version=version)


def read(data, version):
    transactional_id, acks, timeout_ms, topics = decode(memoryview(data), version)
    plain = [
        (name, [(index, None if data is None else bytes(data)) for index, data in partitions])
        for name, partitions in topics
    ]
    return transactional_id, acks, timeout_ms, plain


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_what_the_library_asks(request_, version):
    assert read(written(request_, version), version) == request_


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_old_versions_name_no_transaction(version):
    request = (None, 1, 5, [("jobs", [(0, b"a")])])
    assert read(written(request, 3)[2:], version) == request


@pytest.mark.parametrize("version", VERSIONS)
def test_records_are_not_copied(version):
    data = written(REQUESTS["several"], version)
    found = decode(memoryview(data), version).topics[0].partitions[1][1]
    assert found.obj is data


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["one batch", "several", "no records"])
def test_a_request_that_is_cut_off(name, version):
    data = written(REQUESTS[name], version)
    for size in range(len(data)):
        with pytest.raises(MalformedError):
            decode(memoryview(data[:size]), version)


def test_tags_that_nobody_knows_are_passed_over():
    plain = written(REQUESTS["one batch"], 9)
    assert plain.endswith(b"records\0\0\0")
    tagged = plain[:-3] + b"\x01\x05\x02ab" + b"\x01\x00\x00" + b"\x01\x00\x01z"
    assert read(tagged, 9) == REQUESTS["one batch"]


HUGE = [
    *(b"\xff\xff" + b"\0\1\0\0\0\0" + count for count in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff")),
    b"\xff\xff" + b"\0\1\0\0\0\0" + b"\0\0\0\1" + b"\0\1a" + b"\x7f\xff\xff\xff",
    b"\xff\xff" + b"\0\1\0\0\0\0" + b"\0\0\0\1" + b"\0\1a" + b"\0\0\0\1" + b"\0\0\0\0" + b"\x7f\xff\xff\xff",
    b"\xff\xff" + b"\0\1\0\0\0\0" + b"\0\0\0\1" + b"\xff\xff" + b"\0\0\0\0",
    b"\0\1\xff" + b"\0\1\0\0\0\0" + b"\0\0\0\0",
]
HUGE_COMPACT = [
    *(b"\0" + b"\0\1\0\0\0\0" + count for count in (b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\x01", b"\0")),
    b"\xff\xff\xff\xff\x0f" + b"\0\1\0\0\0\0" + b"\1",
    b"\0" + b"\0\1\0\0\0\0" + b"\2" + b"\2a" + b"\xff\xff\xff\xff\x0f",
    b"\0" + b"\0\1\0\0\0\0" + b"\2" + b"\2a" + b"\0",
    b"\0" + b"\0\1\0\0\0\0" + b"\2" + b"\2a" + b"\2" + b"\0\0\0\0" + b"\xff\xff\xff\xff\x0f",
    b"\0" + b"\0\1\0\0\0\0" + b"\2" + b"\0" + b"\1" + b"\0\0",
    b"\0" + b"\0\1\0\0\0\0" + b"\2" + b"\2\xff" + b"\1" + b"\0\0",
    b"\0" + b"\0\1\0\0\0\0" + b"\1" + b"\0" + b"\0",
]


@pytest.mark.parametrize(
    ("data", "version"), [*((each, 8) for each in HUGE), *((each, 9) for each in HUGE_COMPACT[:-1])]
)
def test_what_cannot_be_is_refused_without_making_room_for_it(data, version):
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError):
            decode(memoryview(data), version)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_what_follows_is_not_looked_at():
    assert read(HUGE_COMPACT[-1], 9) == (None, 1, 0, [])


@given(st.binary(max_size=80), st.sampled_from(range(10)))
def test_any_bytes_are_a_request_or_malformed(data, version):
    try:
        request = decode(memoryview(data), version)
    except MalformedError:
        return
    assert sum(len(topic.partitions) for topic in request.topics) <= len(data)


# --- replies

Reply = ProduceResponse.TopicProduceResponse
PartitionReplied = Reply.PartitionProduceResponse

REPLIES = {
    "stored": [("jobs", [PartitionReply(0, 0, 4711, -1, 12)])],
    "stored with the append's time": [("jobs", [PartitionReply(0, 0, 2**40, 1_795_512_600_123, 0)])],
    "failed": [("jobs", [PartitionReply(3, 3)])],
    "failed, in words": [("jobs", [PartitionReply(1, 56, message="the disk is full: é" * 20)])],
    "several": [
        ("jobs", [PartitionReply(number, 0, number) for number in range(130)]),
        ("x" * 249, [PartitionReply(0, 0, 1), PartitionReply(1, 87, message="no")]),
    ],
    "nothing": [],
    "a topic without partitions": [("jobs", [])],
}
"""Name: the rows of the reply."""


def replied(topics, version):
    """A reply as the library writes it."""
    made = ProduceResponse(
        throttle_time_ms=0,
        responses=[
            Reply(
                name=name,
                partition_responses=[
                    PartitionReplied(
                        index=row.index,
                        error_code=row.code,
                        base_offset=row.offset,
                        log_append_time_ms=row.append_ms,
                        log_start_offset=row.start_offset,
                        record_errors=[],
                        error_message=row.message,
                    )
                    for row in rows
                ],
            )
            for name, rows in topics
        ],
    )
    return made.encode(version=version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("topics", REPLIES.values(), ids=REPLIES)
def test_a_reply_is_as_the_library_writes_it(topics, version):
    assert encode(topics, version) == replied(topics, version)


OLD_REPLIES = [
    b"\0\0\0\1" + b"\0\4jobs" + b"\0\0\0\1" + b"\0\0\0\7\0\x23" + b"\xff" * 8,
    b"\0\0\0\1" + b"\0\4jobs" + b"\0\0\0\1" + b"\0\0\0\7\0\x23" + b"\xff" * 8 + b"\0\0\0\0",
    b"\0\0\0\1" + b"\0\4jobs" + b"\0\0\0\1" + b"\0\0\0\7\0\x23" + b"\xff" * 16 + b"\0\0\0\0",
]
"""Written by hand from the protocol's documentation: version 1 added the throttle time, 2 the append's time."""


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_the_refusal_of_an_old_version_has_its_shape(version):
    assert encode([("jobs", [PartitionReply(7, 35)])], version) == OLD_REPLIES[version]


def test_there_are_only_so_many_partitions_in_a_request():
    head = b"\xff\xff" + b"\0\1\0\0\0\0" + b"\0\0\0\2"
    half = MAX_PARTITIONS // 2
    topic = b"\0\1a" + half.to_bytes(4, "big") + (b"\0\0\0\0" + b"\xff\xff\xff\xff") * half
    assert sum(len(each.partitions) for each in decode(memoryview(head + topic * 2), 8).topics) == MAX_PARTITIONS
    longer = b"\0\1a" + (half + 1).to_bytes(4, "big") + (b"\0\0\0\0" + b"\xff\xff\xff\xff") * (half + 1)
    with pytest.raises(MalformedError, match="more than 100000 partitions"):
        decode(memoryview(head + topic + longer), 8)


@pytest.mark.parametrize("version", [8, 9])
def test_topics_without_partitions_count_too(version):
    count = MAX_PARTITIONS + 1
    if version == 8:
        data = b"\xff\xff" + b"\0\1\0\0\0\0" + count.to_bytes(4, "big") + b"\0\0\0\0\0\0" * count
    else:
        data = b"\0" + b"\0\1\0\0\0\0" + encode_unsigned(count + 1) + b"\1\1\0" * count
    with pytest.raises(MalformedError, match="more than 100000 partitions"):
        decode(memoryview(data), version)
