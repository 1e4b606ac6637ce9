"""Fetch's replies by hand: what is written is what the library writes, byte for byte."""

from __future__ import annotations

import uuid

import pytest
from kafka.protocol.consumer import FetchResponse

from gstream.kafka.fetch import API
from gstream.kafka.fetch_codec import IDS_FROM, SMALL_BYTES, PartitionReply, encode

VERSIONS = API.versions
Topic = FetchResponse.FetchableTopicResponse
Partition = Topic.PartitionData
SMALL, LARGE = b"few records", b"many records" * 1000


def row(index, *chunks, aborted=None, code=0):
    if code:
        return PartitionReply(index, code)
    return PartitionReply(index, 0, 100, 90, 5, aborted, list(chunks), sum(map(len, chunks)))


REPLIES = {
    "records": [("jobs", [row(0, SMALL)])],
    "many records": [("jobs", [row(0, LARGE)])],
    "in several pieces": [("jobs", [row(0, LARGE, SMALL, memoryview(LARGE)[5:]), row(1, SMALL, SMALL)])],
    "none": [("jobs", [row(0)])],
    "none that were aborted": [("jobs", [row(0, SMALL, aborted=[])])],
    "some were aborted": [
        ("jobs", [row(0, LARGE, aborted=[(4000, 7), (4001, 2**40)]), row(1, aborted=[(1, 2)] * 150)])
    ],
    "failed": [("jobs", [row(2, code=1), row(-1, code=3)])],
    "several topics": [("jobs", [row(0, LARGE), row(1)]), ("mails", [row(0)]), ("x" * 249, [row(2**31 - 1, SMALL)])],
    "many partitions": [("jobs", [row(number, b"x" * number) for number in range(200)])],
    "nothing": [],
    "a topic without partitions": [("jobs", [])],
}
"""Name: the rows of the reply."""


def key_of(name, version):
    """What a topic is called in that version."""
    return uuid.uuid5(uuid.NAMESPACE_OID, name) if version >= IDS_FROM else name


def replied(topics, version, code=0):
    """A reply as the library writes it."""
    responses = []
    for key, rows in topics:
        partitions = []
        for each in rows:
            aborted = each.aborted
            if aborted is not None:
                aborted = [Partition.AbortedTransaction(producer_id=who, first_offset=first) for who, first in aborted]
            partitions.append(
                Partition(
                    partition_index=each.index,
                    error_code=each.code,
                    high_watermark=each.high_watermark,
                    last_stable_offset=each.stable_offset,
                    log_start_offset=each.start_offset,
                    aborted_transactions=aborted,
                    preferred_read_replica=-1,
                    records=b"".join(each.chunks),
                )
            )
        name = {"topic_id": key} if isinstance(key, uuid.UUID) else {"topic": key}
        responses.append(Topic(**name, partitions=partitions))
    return FetchResponse(throttle_time_ms=0, error_code=code, session_id=0, responses=responses).encode(version=version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("topics", REPLIES.values(), ids=REPLIES)
def test_a_reply_is_as_the_library_writes_it(topics, version):
    keyed = [(key_of(name, version), rows) for name, rows in topics]
    assert b"".join(encode(keyed, version)) == replied(keyed, version)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 7])
def test_an_error_of_the_whole_request(version):
    assert b"".join(encode([], version, 70)) == replied([], version, 70)


@pytest.mark.parametrize("version", VERSIONS)
def test_many_records_are_not_copied(version):
    chunks = [LARGE, memoryview(LARGE)[7:]]
    buffers = encode([(key_of("jobs", version), [row(0, *chunks), row(1, SMALL)])], version)
    assert buffers[1] is chunks[0]
    assert buffers[2] is chunks[1]
    assert len(buffers) == 4


def test_few_records_make_no_buffer_of_their_own():
    rows = [row(number, b"x" * SMALL_BYTES) for number in range(3)]
    assert len(encode([("jobs", rows)], 12)) == 1


def test_many_small_chunks_are_one_buffer():
    rows = [row(0, *[SMALL] * 5000), row(1, SMALL)]
    assert len(encode([("jobs", rows)], 12)) == 1, "the kernel takes 1,024 at once"
