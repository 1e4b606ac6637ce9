"""The keys of a topic's configuration: those of Kafka 3.9 that say something about one server.

Three kinds: what is served; what is kept and shown, whatever its value is, because nothing a client can see depends on
it here; and what may only have its default, because another value would be a promise that is not kept.

Knows no topic: see topic_configs.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gstream.kafka.configs import (
    LARGEST_INT,
    LARGEST_LONG,
    Check,
    Type,
    flag,
    fraction,
    one_of,
    only,
    split_list,
    whole,
)

__all__ = ["CREATE_TIME", "LOG_APPEND_TIME", "TOPIC_KEYS", "TopicKey"]

CREATE_TIME = "CreateTime"
LOG_APPEND_TIME = "LogAppendTime"
"""Of ``message.timestamp.type``."""

SMALLEST_SEGMENT_BYTES = 1024
"""As of the server's --segment-bytes."""

FOREVER = str(LARGEST_LONG)


@dataclass(frozen=True, slots=True)
class TopicKey:
    """A key of a topic's configuration.

    default: None: what the server's options say.
    broker_name: the key of the server's configuration that has the default.
    """

    name: str
    type: Type
    default: str | None
    check: Check
    broker_name: str
    documentation: str


def _check_cleanup(value: str) -> str:
    policies = split_list(value)
    if "compact" in policies:
        raise ValueError("delete: compaction is not served yet; what is to be kept for ever has retention.ms=-1")
    if policies != ["delete"]:
        raise ValueError("delete")
    return value


def _check_release(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){1,3}(-IV[0-9]{1,3})?", value):
        raise ValueError("a release of Kafka, as in 3.0 or 3.0-IV1")
    return value


def _check_replicas(value: str) -> str:
    if value != "*" and not re.fullmatch(r"([0-9]+:[0-9]+(,[0-9]+:[0-9]+)*)?", value):
        raise ValueError("* or a list as in 0:1,1:1, each a partition and a broker")
    return value


_NO_TIERS: Final = "there is no remote storage"
_ANY_TIME: Final = "times are taken as they come"
_SHOWN: Final = "Kept and shown; nothing depends on it here: "

_KEYS: Final = (
    TopicKey(
        "cleanup.policy",
        Type.LIST,
        "delete",
        _check_cleanup,
        "log.cleanup.policy",
        "What becomes of old messages: delete.",
    ),
    TopicKey(
        "compression.gzip.level",
        Type.INT,
        "-1",
        whole(1, 9, -1),
        "compression.gzip.level",
        f"{_SHOWN}batches stay as they came.",
    ),
    TopicKey(
        "compression.lz4.level",
        Type.INT,
        "9",
        whole(1, 17),
        "compression.lz4.level",
        f"{_SHOWN}batches stay as they came.",
    ),
    TopicKey(
        "compression.type",
        Type.STRING,
        "producer",
        one_of("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
        "compression.type",
        f"{_SHOWN}batches stay as the producer has compressed them.",
    ),
    TopicKey(
        "compression.zstd.level",
        Type.INT,
        "3",
        whole(-131_072, 22),
        "compression.zstd.level",
        f"{_SHOWN}batches stay as they came.",
    ),
    TopicKey(
        "delete.retention.ms",
        Type.LONG,
        "86400000",
        whole(0, LARGEST_LONG),
        "log.cleaner.delete.retention.ms",
        f"{_SHOWN}it is of compaction.",
    ),
    TopicKey(
        "file.delete.delay.ms",
        Type.LONG,
        "60000",
        whole(0, LARGEST_LONG),
        "log.segment.delete.delay.ms",
        f"{_SHOWN}files are removed at once.",
    ),
    TopicKey(
        "flush.messages",
        Type.LONG,
        FOREVER,
        whole(1, LARGEST_LONG),
        "log.flush.interval.messages",
        "After so many messages they are synced at the latest; the server's --sync must do it as often.",
    ),
    TopicKey(
        "flush.ms",
        Type.LONG,
        FOREVER,
        whole(0, LARGEST_LONG),
        "log.flush.interval.ms",
        "After so long messages are synced at the latest; the server's --sync must do it as often.",
    ),
    TopicKey(
        "follower.replication.throttled.replicas",
        Type.LIST,
        "",
        _check_replicas,
        "follower.replication.throttled.replicas",
        f"{_SHOWN}there is one server.",
    ),
    TopicKey(
        "index.interval.bytes",
        Type.INT,
        "4096",
        whole(0, LARGEST_INT),
        "log.index.interval.bytes",
        f"{_SHOWN}files have gstream's own index.",
    ),
    TopicKey(
        "leader.replication.throttled.replicas",
        Type.LIST,
        "",
        _check_replicas,
        "leader.replication.throttled.replicas",
        f"{_SHOWN}there is one server.",
    ),
    TopicKey(
        "local.retention.bytes",
        Type.LONG,
        "-2",
        only("-2", _NO_TIERS),
        "log.local.retention.bytes",
        f"Only its default: {_NO_TIERS}.",
    ),
    TopicKey(
        "local.retention.ms",
        Type.LONG,
        "-2",
        only("-2", _NO_TIERS),
        "log.local.retention.ms",
        f"Only its default: {_NO_TIERS}.",
    ),
    TopicKey(
        "max.compaction.lag.ms",
        Type.LONG,
        FOREVER,
        whole(1, LARGEST_LONG),
        "log.cleaner.max.compaction.lag.ms",
        f"{_SHOWN}it is of compaction.",
    ),
    TopicKey(
        "max.message.bytes",
        Type.INT,
        None,
        whole(1, LARGEST_INT),
        "message.max.bytes",
        "The largest batch that a Kafka client may send, in bytes as sent.",
    ),
    TopicKey(
        "message.downconversion.enable",
        Type.BOOLEAN,
        "true",
        flag,
        "log.message.downconversion.enable",
        f"{_SHOWN}old formats are not served.",
    ),
    TopicKey(
        "message.format.version",
        Type.STRING,
        "3.0-IV1",
        _check_release,
        "log.message.format.version",
        f"{_SHOWN}messages are kept in the newest format, as by Kafka from 3.0 on.",
    ),
    TopicKey(
        "message.timestamp.after.max.ms",
        Type.LONG,
        FOREVER,
        only(FOREVER, _ANY_TIME),
        "log.message.timestamp.after.max.ms",
        f"Only its default: {_ANY_TIME}.",
    ),
    TopicKey(
        "message.timestamp.before.max.ms",
        Type.LONG,
        FOREVER,
        only(FOREVER, _ANY_TIME),
        "log.message.timestamp.before.max.ms",
        f"Only its default: {_ANY_TIME}.",
    ),
    TopicKey(
        "message.timestamp.difference.max.ms",
        Type.LONG,
        FOREVER,
        only(FOREVER, _ANY_TIME),
        "log.message.timestamp.difference.max.ms",
        f"Only its default: {_ANY_TIME}.",
    ),
    TopicKey(
        "message.timestamp.type",
        Type.STRING,
        CREATE_TIME,
        one_of(CREATE_TIME, LOG_APPEND_TIME),
        "log.message.timestamp.type",
        "Whether a message's time is its producer's, or when it was stored.",
    ),
    TopicKey(
        "min.cleanable.dirty.ratio",
        Type.DOUBLE,
        "0.5",
        fraction,
        "log.cleaner.min.cleanable.ratio",
        f"{_SHOWN}it is of compaction.",
    ),
    TopicKey(
        "min.compaction.lag.ms",
        Type.LONG,
        "0",
        whole(0, LARGEST_LONG),
        "log.cleaner.min.compaction.lag.ms",
        f"{_SHOWN}it is of compaction.",
    ),
    TopicKey(
        "min.insync.replicas",
        Type.INT,
        "1",
        only("1", "there is one server, and so one replica"),
        "min.insync.replicas",
        "Only its default: there is one replica.",
    ),
    TopicKey(
        "preallocate",
        Type.BOOLEAN,
        "false",
        flag,
        "log.preallocate",
        f"{_SHOWN}files grow as they are written.",
    ),
    TopicKey(
        "remote.storage.enable",
        Type.BOOLEAN,
        "false",
        only("false", _NO_TIERS),
        "remote.log.storage.system.enable",
        f"Only its default: {_NO_TIERS}.",
    ),
    TopicKey(
        "retention.bytes",
        Type.LONG,
        None,
        whole(1, LARGEST_LONG, -1),
        "log.retention.bytes",
        "How large a partition may become: beyond that its oldest messages go; -1: no limit.",
    ),
    TopicKey(
        "retention.ms",
        Type.LONG,
        None,
        whole(1, LARGEST_LONG, -1),
        "log.retention.ms",
        "How old messages may become: older ones go; -1: no limit.",
    ),
    TopicKey(
        "segment.bytes",
        Type.INT,
        None,
        whole(SMALLEST_SEGMENT_BYTES, LARGEST_INT),
        "log.segment.bytes",
        "How large the files are in which messages lie, and which are removed as a whole.",
    ),
    TopicKey(
        "segment.index.bytes",
        Type.INT,
        "10485760",
        whole(4, LARGEST_INT),
        "log.index.size.max.bytes",
        f"{_SHOWN}files have gstream's own index.",
    ),
    TopicKey(
        "segment.jitter.ms",
        Type.LONG,
        "0",
        whole(0, LARGEST_LONG),
        "log.roll.jitter.ms",
        f"{_SHOWN}files are begun when they are due.",
    ),
    TopicKey(
        "segment.ms",
        Type.LONG,
        None,
        whole(1, LARGEST_LONG),
        "log.roll.ms",
        f"{_SHOWN}files are begun so often that retention.ms is kept.",
    ),
    TopicKey(
        "unclean.leader.election.enable",
        Type.BOOLEAN,
        "false",
        flag,
        "unclean.leader.election.enable",
        f"{_SHOWN}there is one server.",
    ),
)

TOPIC_KEYS: Final = {key.name: key for key in _KEYS}
"""By name."""
