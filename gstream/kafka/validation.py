"""What a producer's batch has to be, before it is stored as it is: Kafka's LogValidator, but for what needs opening it.

The records inside are the client's own affair: nobody opens them who need not. Knows no topic and no log.
"""

from __future__ import annotations

from typing import Final

import crc32c

from gstream.header import CHECKED_FROM, MIN_LENGTH, Header, unpack_header
from gstream.kafka.codes import Code, KafkaError
from gstream.record import APPEND_TIME, CODEC_BITS, CONTROL, SMALLEST_BYTES, TRANSACTIONAL

__all__ = ["MAX_RECORDS", "OVERHEAD_BYTES", "check_batch", "max_batch_bytes"]

MAGIC: Final = 2
ZSTD: Final = 4
"""The codec with the highest number."""
ZSTD_FROM: Final = 7
"""The version of Produce whose clients know zstd, see KIP-110."""

KNOWN_BITS: Final = 0x7F
"""Of the attributes: those that Kafka 4 uses. A log takes no others for a batch's."""

MAX_RECORDS: Final = 1_000_000
"""As many as librdkafka can be told to put into a batch. Each takes an offset, whether it is there or not, and what is
compressed may claim to be any number."""

OVERHEAD_BYTES: Final = 12
"""Kafka's own limit is 1 MiB and this: a batch's offset and length do not count."""


def max_batch_bytes(max_message_bytes: int) -> int:
    """How large a batch may be where messages of the line protocol may be so large."""
    return max_message_bytes + OVERHEAD_BYTES


def check_batch(data: memoryview | None, version: int, max_bytes: int) -> Header:
    """The header of what is to be stored: one batch, whole and unharmed, of a kind that clients may send.

    version: of the Produce request that it came in. max_bytes: of the whole batch. Raises KafkaError.
    """
    if data is None or not data:
        raise KafkaError(Code.INVALID_RECORD, "there is no batch of records")
    header = unpack_header(data)
    size = len(data)
    if header is None:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"{size} bytes are no batch of records")
    if header.magic != MAGIC:
        raise KafkaError(Code.INVALID_RECORD, f"batches of version {header.magic} cannot be stored, only of version 2")
    if header.length < MIN_LENGTH or header.size > size:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"the batch says that it has {header.size} bytes, {size} came")
    if header.size < size:
        raise KafkaError(Code.INVALID_RECORD, "there is more than one batch of records for a partition")
    if size > max_bytes:
        raise KafkaError(
            Code.MESSAGE_TOO_LARGE,
            f"the batch has {size} bytes, the limit is {max_bytes}: the topic's max.message.bytes, or --max-message",
        )
    if header.crc != crc32c.crc32c(data[CHECKED_FROM:]):
        raise KafkaError(Code.CORRUPT_MESSAGE, "the batch's checksum is wrong")
    _check_fields(header, version)
    return header


def _check_fields(header: Header, version: int) -> None:
    attributes, records = header.attributes, header.records
    if attributes & ~CODEC_BITS:
        _check_attributes(header)
    if attributes & CODEC_BITS >= ZSTD:
        _check_codec(attributes & CODEC_BITS, version)
    if records <= 0 or header.last_offset_delta != records - 1:
        text = f"the batch says that it has {records} records, and {header.last_offset_delta + 1} offsets"
        raise KafkaError(Code.INVALID_RECORD, text)
    if not attributes & CODEC_BITS and records > (header.length - MIN_LENGTH) // SMALLEST_BYTES:
        raise KafkaError(Code.INVALID_RECORD, f"the batch says that it has {records} records, and has no room for them")
    if header.length == MIN_LENGTH:
        raise KafkaError(Code.INVALID_RECORD, f"the batch says that it has {records} records, and has none")
    if records > MAX_RECORDS:  # with this code, Java's client halves a batch
        text = f"the batch says that it has {records} records, and may have {MAX_RECORDS}"
        raise KafkaError(Code.MESSAGE_TOO_LARGE, text)
    if header.producer_id >= 0 and (header.base_sequence < 0 or header.producer_epoch < 0):
        raise KafkaError(Code.INVALID_RECORD, "a batch of an idempotent producer needs an epoch and a sequence number")


def _check_attributes(header: Header) -> None:
    attributes = header.attributes
    if attributes & ~KNOWN_BITS:
        raise KafkaError(Code.INVALID_RECORD, f"the batch has attributes that are not known: {attributes & 0xFFFF:#x}")
    if attributes & CONTROL:
        raise KafkaError(Code.INVALID_RECORD, "control batches are the broker's own")
    if attributes & APPEND_TIME:
        raise KafkaError(Code.INVALID_TIMESTAMP, "that times are those of the append is for the broker to say")
    if attributes & TRANSACTIONAL and header.producer_id < 0:
        raise KafkaError(Code.INVALID_RECORD, "a batch of a transaction needs a producer id")


def _check_codec(codec: int, version: int) -> None:
    if codec > ZSTD:
        raise KafkaError(Code.UNSUPPORTED_COMPRESSION_TYPE, f"there is no codec {codec}")
    if version < ZSTD_FROM:
        raise KafkaError(Code.UNSUPPORTED_COMPRESSION_TYPE, f"zstd needs version {ZSTD_FROM} of Produce or a later one")
