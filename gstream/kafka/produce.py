"""Produce (0), versions 3 to 9: a batch of records to the end of each partition that is named.

The batches are stored as they came. ``acks=0``: nothing is answered, and the connection ends when something cannot be
stored; 1 and -1 are the same here, where there are no replicas: the reply is sent when the records are stored, which is
on disk if that is where the server keeps them. Never makes a topic: a producer asks for the metadata first, and that
does.

Versions 0 to 2 are advertised, because librdkafka up to 2.11 compresses nothing unless they are (KAFKA-18659), and
refused in their own shape. KIP-98 (idempotence, transactions), KIP-110 (zstd), KIP-467 (errors in words), KIP-890
(only what was added to a transaction is stored in it).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gevent
from kafka.protocol.producer import ProduceRequest as LibraryRequest
from kafka.protocol.producer import ProduceResponse as LibraryResponse

from gstream.commit import Commit, together
from gstream.errors import GstreamError
from gstream.header import Header, unpack_header
from gstream.kafka.api import Api, Context, Deferred, Reply
from gstream.kafka.codes import Code, KafkaError, code_of
from gstream.kafka.produce_codec import TRANSACTIONAL_FROM, PartitionReply, ProduceRequest, decode, encode
from gstream.kafka.receiving import RefusedError
from gstream.kafka.rows import PAUSE_SECONDS
from gstream.kafka.validation import check_batch, max_batch_bytes
from gstream.record import TRANSACTIONAL
from gstream.records import with_append_time
from gstream.storage.producers import (
    DuplicateSequenceError,
    OutOfOrderError,
    ProducerError,
    StaleEpochError,
)

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["API"]

MAX_REQUEST_BYTES = 100 << 20

STRETCH_SECONDS = 0.001
"""A request with many batches lets others have their turns after this."""

_CODES: tuple[tuple[type[ProducerError], Code], ...] = (
    (OutOfOrderError, Code.OUT_OF_ORDER_SEQUENCE_NUMBER),
    (StaleEpochError, Code.INVALID_PRODUCER_EPOCH),
    (DuplicateSequenceError, Code.DUPLICATE_SEQUENCE_NUMBER),
)

Rows = list[tuple[str, list[PartitionReply]]]


def handle(node: Node, request: ProduceRequest, context: Context) -> Reply:
    """Store what can be stored, and say of each partition what became of it. Others run between two of them."""
    began = time.perf_counter()
    refusal = _refusal(request, context.version)
    rows: Rows = []
    commits: list[Commit] = []
    for name, partitions in request.topics:
        topic = node.broker.topics.get(name)
        if topic is not None and refusal is None:
            kept = topic.make_log()
            if kept is not None:  # after a crash, groups of the line protocol would let go what is stored now
                commits.append(kept)
        replies = []
        for index, data in partitions:
            reply = PartitionReply(index)
            replies.append(reply)
            try:
                if refusal is not None:
                    raise refusal
                _store(node, request, context.version, topic, data, reply)
            except (KafkaError, GstreamError, ProducerError) as error:
                _refuse(reply, error)
            if reply.commit is not None:
                commits.append(reply.commit)
            if time.perf_counter() - began > STRETCH_SECONDS:
                gevent.sleep(PAUSE_SECONDS)
                began = time.perf_counter()
        rows.append((name, replies))
    commit = together(commits) if commits else None
    if not request.acks:
        _check_stored(rows)
        return None if commit is None else Deferred(commit, lambda: _end(rows))
    if commit is None:
        return [encode(rows, context.version)]
    return Deferred(commit, lambda: _finish(rows, context.version))


def _refusal(request: ProduceRequest, version: int) -> KafkaError | None:
    """Why nothing of this request is stored, whatever is in it."""
    if version < TRANSACTIONAL_FROM:
        return KafkaError(Code.UNSUPPORTED_VERSION)
    if request.acks not in {-1, 0, 1}:
        return KafkaError(Code.INVALID_REQUIRED_ACKS, f"acks={request.acks} cannot be had: 0, 1 or -1 (all)")
    return None


def _store(
    node: Node,
    request: ProduceRequest,
    version: int,
    topic: Topic | None,
    data: memoryview | None,
    reply: PartitionReply,
) -> None:
    """Append a partition's batch. Raises KafkaError, GstreamError and ProducerError; then nothing of it is stored."""
    index = reply.index
    if topic is None or topic.removed or not 0 <= index < len(topic.partitions):
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
    options = topic.options
    max_bytes = options.max_message_bytes
    if max_bytes is None:
        max_bytes = max_batch_bytes(node.config.max_message_bytes)
    header = check_batch(data, version, max_bytes)
    assert data is not None
    if header.attributes & TRANSACTIONAL:
        node.transactions.check_produce(
            header.producer_id, header.producer_epoch, request.transactional_id, topic.name, index
        )
    if options.append_time:
        reply.append_ms = int(node.engine.clock() * 1000)
        stamped = with_append_time(data, reply.append_ms)
        placed = topic.append_records(index, stamped, _header_of(stamped))
    else:
        placed = topic.append_records(index, data, header)
    reply.offset = placed.offset
    reply.start_offset = topic.partitions[index].oldest_offset
    reply.commit = placed.commit


def _check_stored(rows: Rows) -> None:
    """Raise RefusedError, which ends the connection, unless all is stored: who wants no reply finds out by that.

    Otherwise it would go on sending to what is not there any more. Kafka does the same.
    """
    for name, replies in rows:
        for reply in replies:
            if reply.code:
                why = reply.message or Code(reply.code).name
                raise RefusedError(f"a batch for {name}:{reply.index} with acks=0 cannot be stored: {why}")


def _header_of(data: bytes) -> Header:
    header = unpack_header(data)
    assert header is not None
    return header


def _end(rows: Rows) -> None:
    """No reply; raises RefusedError if something could not be stored after all."""
    _note_failures(rows)
    _check_stored(rows)


def _refuse(reply: PartitionReply, error: Exception) -> None:
    reply.code = next((code for kind, code in _CODES if isinstance(error, kind)), code_of(error))
    reply.message = (error.message or None) if isinstance(error, KafkaError) else str(error)


def _finish(rows: Rows, version: int) -> Sequence[bytes]:
    """The reply, now that it is known of each batch whether it is stored."""
    _note_failures(rows)
    return [encode(rows, version)]


def _note_failures(rows: Rows) -> None:
    for _, replies in rows:
        for reply in replies:
            error = reply.commit.error if reply.commit is not None else None
            if error is not None:
                reply.code, reply.message = Code.KAFKA_STORAGE_ERROR, str(error)
                reply.offset = reply.append_ms = reply.start_offset = -1


API = Api(
    key=0,
    name="Produce",
    versions=range(10),
    handle=handle,
    request=LibraryRequest,
    response=LibraryResponse,
    decode=decode,
    max_bytes=MAX_REQUEST_BYTES,
)
