import pytest

from gstream.config import Config
from gstream.kafka.configs import Type
from gstream.kafka.topic_configs import server_value
from gstream.kafka.topic_keys import TOPIC_KEYS


def test_keys_are_in_order_and_have_words():
    assert list(TOPIC_KEYS) == sorted(TOPIC_KEYS)
    assert all(key.documentation.endswith(".") and key.broker_name for key in TOPIC_KEYS.values())


@pytest.mark.parametrize("name", TOPIC_KEYS)
def test_the_value_of_the_server_may_be_said(name):
    value = server_value(Config(), name)
    assert TOPIC_KEYS[name].check(value) == value


def test_types_are_those_of_kafka():
    types = {name: key.type for name, key in TOPIC_KEYS.items()}
    assert types["retention.bytes"] is types["retention.ms"] is types["segment.ms"] is Type.LONG
    assert types["segment.bytes"] is types["max.message.bytes"] is types["min.insync.replicas"] is Type.INT
    assert types["cleanup.policy"] is Type.LIST
    assert types["preallocate"] is Type.BOOLEAN
    assert types["min.cleanable.dirty.ratio"] is Type.DOUBLE
    assert types["compression.type"] is types["message.timestamp.type"] is Type.STRING


@pytest.mark.parametrize("value", ["compact", "compact,delete", "delete, compact"])
def test_compaction_is_refused_in_words(value):
    with pytest.raises(ValueError, match="compaction is not served yet"):
        TOPIC_KEYS["cleanup.policy"].check(value)


@pytest.mark.parametrize("value", ["", "keep", "delete,keep"])
def test_other_policies_are_not_known(value):
    with pytest.raises(ValueError, match=r"^delete$"):
        TOPIC_KEYS["cleanup.policy"].check(value)


@pytest.mark.parametrize(
    ("name", "value", "possible"),
    [
        ("min.insync.replicas", "2", "1, there is one server"),
        ("remote.storage.enable", "true", "false, there is no remote storage"),
        ("local.retention.ms", "1000", "-2, there is no remote storage"),
        ("message.timestamp.after.max.ms", "3600000", "times are taken as they come"),
        ("message.timestamp.difference.max.ms", "1", "times are taken as they come"),
        ("message.format.version", "newest", "a release of Kafka"),
        ("retention.ms", "0", "from 1 to .*, or -1"),
        ("retention.bytes", "-2", "from 1 to .*, or -1"),
        ("segment.bytes", "100", "from 1024 to 2147483647"),
        ("max.message.bytes", "0", "from 1 to 2147483647"),
    ],
)
def test_what_would_be_an_empty_promise_is_refused(name, value, possible):
    with pytest.raises(ValueError, match=possible):
        TOPIC_KEYS[name].check(value)


@pytest.mark.parametrize("value", ["0.10.2", "2.8-IV1", "3.0"])
def test_old_formats_may_be_named(value):
    assert TOPIC_KEYS["message.format.version"].check(value) == value


@pytest.mark.parametrize("value", ["", "*", "0:1", "0:1,12:3"])
def test_throttled_replicas(value):
    assert TOPIC_KEYS["leader.replication.throttled.replicas"].check(value) == value


@pytest.mark.parametrize("value", ["all", "0", "0:1,", "*,0:1"])
def test_what_are_no_throttled_replicas(value):
    with pytest.raises(ValueError, match="each a partition and a broker"):
        TOPIC_KEYS["follower.replication.throttled.replicas"].check(value)
