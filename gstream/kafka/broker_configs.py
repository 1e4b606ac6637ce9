"""The server's own configuration under the names of Kafka's: what clients and tools look for.

None of it can be altered by a client; what is not the default was set by an option of the server.
"""

from __future__ import annotations

import math
import os.path
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gstream.config import Config
from gstream.kafka.api import Context
from gstream.kafka.configs import LARGEST_LONG, Entry, Source, Synonym, Type
from gstream.kafka.topic_configs import DEFAULTS, server_value
from gstream.kafka.topic_keys import TOPIC_KEYS

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["describe_broker"]

MS_PER_HOUR: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class _BrokerKey:
    """A key of the server's configuration.

    show: its value, by the server's options.
    """

    name: str
    type: Type
    show: Callable[[Config], str | None]
    documentation: str


def _always(value: str | None) -> Callable[[Config], str | None]:
    return lambda _: value


def _of_topics(name: str) -> Callable[[Config], str | None]:
    return lambda config: server_value(config, name)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _retention_hours(config: Config) -> str:
    ms = int(server_value(config, "retention.ms"))
    return "-1" if ms < 0 else str(ms // MS_PER_HOUR)


def _flush_ms(config: Config) -> str | None:
    """None: not by time."""
    seconds = config.sync_seconds
    return None if config.data_dir is None or not seconds or math.isinf(seconds) else str(int(seconds * 1000))


def _flush_messages(config: Config) -> str:
    return "1" if config.data_dir is not None and not config.sync_seconds else str(LARGEST_LONG)


def _log_dir(config: Config) -> str:
    return "memory" if config.data_dir is None else os.path.abspath(config.data_dir)


_OWN: Final = (
    _BrokerKey(
        "auto.create.topics.enable",
        Type.BOOLEAN,
        lambda config: _flag(config.kafka_auto_create),
        "Whether a topic is made when a client asks for its metadata: --kafka-auto-create.",
    ),
    _BrokerKey("broker.id", Type.INT, _always("1"), "There is one server."),
    _BrokerKey("broker.rack", Type.STRING, _always(None), "There is one server."),
    _BrokerKey("default.replication.factor", Type.INT, _always("1"), "There is one server, and so one replica."),
    _BrokerKey("delete.topic.enable", Type.BOOLEAN, _always("true"), "Topics can be deleted."),
    _BrokerKey(
        "group.initial.rebalance.delay.ms",
        Type.INT,
        lambda config: str(int(config.kafka_group_delay_seconds * 1000)),
        "How long a new group waits for further members: --kafka-group-delay.",
    ),
    _BrokerKey("group.max.session.timeout.ms", Type.INT, _always("1800000"), "The longest session of a member."),
    _BrokerKey("group.min.session.timeout.ms", Type.INT, _always("10"), "The shortest session of a member."),
    _BrokerKey("log.dir", Type.STRING, _log_dir, "Where messages are kept: --data-dir."),
    _BrokerKey("log.dirs", Type.STRING, _log_dir, "Where messages are kept: --data-dir."),
    _BrokerKey("log.flush.interval.messages", Type.LONG, _flush_messages, "When messages are synced: --sync."),
    _BrokerKey("log.flush.interval.ms", Type.LONG, _flush_ms, "When messages are synced: --sync."),
    _BrokerKey("log.retention.hours", Type.INT, _retention_hours, "How old messages may become: --retain-seconds."),
    _BrokerKey(
        "max.connections", Type.INT, lambda config: str(config.max_connections), "How many clients: --max-connections."
    ),
    _BrokerKey("node.id", Type.INT, _always("1"), "There is one server."),
    _BrokerKey(
        "num.partitions",
        Type.INT,
        lambda config: str(config.kafka_partitions or config.partitions),
        "How many partitions a topic gets when nobody says how many: --kafka-partitions.",
    ),
    _BrokerKey("offset.metadata.max.bytes", Type.INT, _always("4096"), "How much may be noted beside an offset."),
    _BrokerKey(
        "offsets.retention.minutes", Type.INT, _always("10080"), "After so long the offsets of an empty group go."
    ),
    _BrokerKey("process.roles", Type.LIST, _always("broker,controller"), "There is one server."),
    _BrokerKey("socket.request.max.bytes", Type.INT, _always("104857600"), "The largest request."),
    _BrokerKey("transaction.max.timeout.ms", Type.INT, _always("900000"), "The longest transaction."),
    _BrokerKey("transactional.id.expiration.ms", Type.INT, _always("604800000"), "After so long an idle id goes."),
)

_FIXED: Final = frozenset(each.name for each in _OWN)

_KEYS: Final = tuple(
    sorted(
        (
            *_OWN,
            *(
                _BrokerKey(key.broker_name, key.type, _of_topics(key.name), key.documentation)
                for key in TOPIC_KEYS.values()
                if key.broker_name not in _FIXED
            ),
        ),
        key=lambda key: key.name,
    )
)


def describe_broker(node: Node, context: Context) -> list[Entry]:
    """All keys of the server."""
    entries = [_entry(node.config, key) for key in _KEYS]
    return sorted([*entries, *_listeners(node, context)], key=lambda entry: entry.name)


def _entry(config: Config, key: _BrokerKey) -> Entry:
    value, default = key.show(config), key.show(DEFAULTS)
    synonyms = [Synonym(key.name, default, Source.DEFAULT)]
    if value != default:
        synonyms.insert(0, Synonym(key.name, value, Source.SERVER))
    strongest = synonyms[0]
    return Entry(
        key.name,
        value,
        key.type,
        strongest.source,
        key.documentation,
        is_read_only=True,
        synonyms=tuple(synonyms),
    )


def _listeners(node: Node, context: Context) -> list[Entry]:
    """Where the server listens, and what clients are told: of this connection, which is what its client can use."""
    config, default = node.config, DEFAULTS
    place = f"PLAINTEXT://{_address(config.kafka_host, context.peer.local_port)}"
    told = f"PLAINTEXT://{_address(*node.advertised(context))}"
    is_set = (config.kafka_host, config.kafka_port) != (default.kafka_host, default.kafka_port)
    return [
        _of_connection(
            "advertised.listeners",
            told,
            is_set=config.kafka_advertise is not None,
            documentation="The address that clients are told to connect to: --kafka-advertise.",
            is_read_only=False,  # as Kafka's own (KIP-226), and its clients look; altering it is refused, in words
        ),
        _of_connection(
            "listeners",
            place,
            is_set=is_set,
            documentation="Where the server listens: --kafka-host and --kafka-port.",
        ),
    ]


def _of_connection(name: str, value: str, *, is_set: bool, documentation: str, is_read_only: bool = True) -> Entry:
    source = Source.SERVER if is_set else Source.DEFAULT
    synonyms = (Synonym(name, value, source),)
    return Entry(name, value, Type.STRING, source, documentation, is_read_only=is_read_only, synonyms=synonyms)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
