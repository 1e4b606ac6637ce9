import os

import pytest

from gstream.config import NEVER
from gstream.kafka.api import Context, Peer
from gstream.kafka.broker_configs import describe_broker
from gstream.kafka.configs import Source, Type
from tests.unit.admin_ground import make_node

PEER = Peer(local_host="192.0.2.1", local_port=9999)


def describe(**settings):
    entries = describe_broker(make_node(**settings), Context(4, peer=PEER))
    assert [entry.name for entry in entries] == sorted({entry.name for entry in entries})
    return {entry.name: entry for entry in entries}


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({}, "auto.create.topics.enable", "true"),
        ({"kafka_auto_create": False}, "auto.create.topics.enable", "false"),
        ({"partitions": 3}, "num.partitions", "3"),
        ({"partitions": 3, "kafka_partitions": 4}, "num.partitions", "4"),
        ({"kafka_group_delay_seconds": 1.5}, "group.initial.rebalance.delay.ms", "1500"),
        ({}, "log.dirs", "memory"),
        ({"limit_seconds": 7200}, "log.retention.hours", "2"),
        ({"limit_seconds": 7200}, "log.retention.ms", "7200000"),
        ({}, "log.retention.hours", "-1"),
        ({}, "log.retention.bytes", "-1"),
        ({"limit_bytes": 5000}, "log.retention.bytes", "5000"),
        ({"segment_bytes": 4096}, "log.segment.bytes", "4096"),
        ({"max_message_bytes": 2000}, "message.max.bytes", "2012"),
        ({"max_connections": 9}, "max.connections", "9"),
        ({}, "broker.id", "1"),
        ({}, "offsets.retention.minutes", "10080"),
        ({}, "transaction.max.timeout.ms", "900000"),
        ({"kafka_host": "127.0.0.1"}, "listeners", "PLAINTEXT://127.0.0.1:9999"),
        ({}, "advertised.listeners", "PLAINTEXT://192.0.2.1:9999"),
        ({"kafka_advertise": "[2001:db8::1]:9092"}, "advertised.listeners", "PLAINTEXT://[2001:db8::1]:9092"),
    ],
)
def test_a_value_is_what_is_in_force(settings, name, value):
    assert describe(**settings)[name].value == value


@pytest.mark.parametrize(("seconds", "ms", "messages"), [(0, None, "1"), (0.5, "500", None), (NEVER, None, None)])
def test_syncing_is_told_as_it_is(tmp_path, seconds, ms, messages):
    node = make_node()
    node.config = make_node(data_dir=str(tmp_path), sync_seconds=seconds).config
    entries = {entry.name: entry for entry in describe_broker(node, Context(4))}
    assert entries["log.flush.interval.ms"].value == ms
    assert entries["log.flush.interval.messages"].value == (messages or "9223372036854775807")
    assert entries["log.dirs"].value == os.path.abspath(tmp_path)


def test_what_an_option_has_set_is_shown_as_that():
    entries = describe(limit_bytes=5000, kafka_advertise="h:1")
    assert entries["log.retention.bytes"].source is Source.SERVER
    assert [source for _, _, source in entries["log.retention.bytes"].synonyms] == [Source.SERVER, Source.DEFAULT]
    assert entries["advertised.listeners"].source is Source.SERVER
    assert entries["broker.id"].source is entries["listeners"].source is Source.DEFAULT


def test_nothing_can_be_altered():
    entries = describe()
    assert [entry.name for entry in entries.values() if not entry.is_read_only] == ["advertised.listeners"]
    assert entries["advertised.listeners"].type is Type.STRING
