import pytest

from gstream.config import NEVER, Config
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.configs import LARGEST_LONG, Source
from gstream.kafka.topic_configs import check_values, describe_topic, own_values, server_value, set_values
from tests.unit.admin_ground import make_node

FOREVER = str(LARGEST_LONG)


@pytest.fixture
def node():
    return make_node()


@pytest.fixture
def topic(node):
    return node.broker.topic("orders")


def set_up(node, topic, **values):
    wanted = {name.replace("_", "."): value for name, value in values.items()}
    set_values(node, topic, check_values(node.config, wanted))


# --- checking


def test_values_are_checked_as_a_whole():
    values = check_values(Config(), {"retention.ms": " 1000 ", "compression.type": "lz4"})
    assert values == {"retention.ms": "1000", "compression.type": "lz4"}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("dummy.doesntexist", "x", "Unknown topic config name: dummy.doesntexist"),
        ("retention.m", "1", "Unknown topic config name: retention.m; did you mean retention.ms?"),
        ("retention.ms", None, "Null value not supported for topic configs: retention.ms"),
        (
            "retention.ms",
            "soon",
            f"Invalid value soon for configuration retention.ms: possible is a whole number from 1 to {FOREVER}, or -1",
        ),
    ],
)
def test_what_cannot_be_had_is_named(name, value, text):
    with pytest.raises(KafkaError) as error:
        check_values(Config(), {"compression.type": "lz4", name: value})
    assert (error.value.code, str(error.value)) == (Code.INVALID_CONFIG, text)


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (Config(), {"flush.ms": "1", "flush.messages": "1"}),  # in memory nothing is synced
        (Config(data_dir="data"), {"flush.ms": "0", "flush.messages": "1"}),  # each message is
        (Config(data_dir="data", sync_seconds=0.5), {"flush.ms": "500"}),
        (Config(data_dir="data", sync_seconds=NEVER), {"flush.ms": FOREVER, "flush.messages": FOREVER}),
    ],
)
def test_syncing_that_the_server_does_may_be_asked_for(config, values):
    assert check_values(config, values) == values


@pytest.mark.parametrize(
    ("seconds", "name", "value", "possible"),
    [
        (0.5, "flush.ms", "499", "500 or more"),
        (NEVER, "flush.ms", "12345678", f"{FOREVER} or more"),
        (0.5, "flush.messages", "1000", FOREVER),
        (NEVER, "flush.messages", "1000", FOREVER),
    ],
)
def test_syncing_that_the_server_does_not_do_is_refused(seconds, name, value, possible):
    with pytest.raises(KafkaError, match=f"possible is {possible}: the server's --sync does it less often"):
        check_values(Config(data_dir="data", sync_seconds=seconds), {name: value})


# --- setting


def test_a_new_topic_has_nothing_of_its_own(node, topic):
    assert own_values(node, topic) == {}


def test_what_is_set_is_in_force(node, topic):
    topic.make_log()
    set_up(
        node,
        topic,
        retention_ms="90000",
        retention_bytes="-1",
        segment_bytes="20000",
        max_message_bytes="5000",
        message_timestamp_type="LogAppendTime",
    )
    assert (topic.retain_seconds, topic.retain_bytes) == (90, 0)
    options = topic.options
    assert (options.segment_bytes, options.max_message_bytes, options.append_time) == (20_000, 5000, True)
    assert options.is_log
    assert own_values(node, topic) == {
        "max.message.bytes": "5000",
        "message.timestamp.type": "LogAppendTime",
        "retention.bytes": "-1",
        "retention.ms": "90000",
        "segment.bytes": "20000",
    }


def test_setting_other_values_takes_the_old_ones_away(node, topic):
    set_up(node, topic, retention_ms="90000", retention_bytes="1000", segment_bytes="20000", compression_type="gzip")
    set_up(node, topic, message_timestamp_type="CreateTime")
    assert own_values(node, topic) == {"message.timestamp.type": "CreateTime"}
    assert (topic.retain_seconds, topic.retain_bytes, topic.options.segment_bytes) == (None, None, None)
    set_up(node, topic)
    assert own_values(node, topic) == {}
    assert node.facts.get("topic/orders/configs") is None


def test_for_ever_is_without_a_limit_and_shown_as_it_was_said(node, topic):
    set_up(node, topic, retention_ms=FOREVER)
    assert topic.retain_seconds == 0
    assert own_values(node, topic) == {"retention.ms": FOREVER}


def test_what_the_line_protocol_sets_is_seen(node, topic):
    set_up(node, topic, retention_ms=FOREVER, retention_bytes="1000")
    node.broker.set_up("orders", retain_seconds=2.5, retain_bytes="default")
    assert own_values(node, topic) == {"retention.ms": "2500"}
    node.broker.set_up("orders", retain_seconds=0, retain_bytes=7)
    assert own_values(node, topic) == {"retention.ms": FOREVER, "retention.bytes": "7"}


def test_what_is_only_shown_goes_with_the_topic(node, topic):
    set_up(node, topic, compression_type="gzip")
    node.broker.remove("orders")
    assert own_values(node, node.broker.topic("orders")) == {}


# --- showing


def describe(config=None, **values):
    named = {name.replace("_", "."): value for name, value in values.items()}
    return {entry.name: entry for entry in describe_topic(config or Config(), named)}


def test_what_is_nowhere_set_is_the_default():
    entry = describe()["retention.bytes"]
    assert (entry.value, entry.source, entry.is_read_only) == ("-1", Source.DEFAULT, False)
    assert entry.synonyms == (("log.retention.bytes", "-1", Source.DEFAULT),)
    assert describe()["max.message.bytes"].value == "1048588"


def test_what_an_option_of_the_server_sets_is_shown_as_that():
    entry = describe(Config(limit_seconds=3600))["retention.ms"]
    assert (entry.value, entry.source) == ("3600000", Source.SERVER)
    assert entry.synonyms == (
        ("log.retention.ms", "3600000", Source.SERVER),
        ("log.retention.ms", "-1", Source.DEFAULT),
    )


def test_what_is_set_for_a_topic_is_shown_as_that():
    entry = describe(Config(limit_seconds=3600), retention_ms="5")["retention.ms"]
    assert (entry.value, entry.source) == ("5", Source.TOPIC)
    assert [source for _, _, source in entry.synonyms] == [Source.TOPIC, Source.SERVER, Source.DEFAULT]


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (Config(max_message_bytes=1000), "max.message.bytes", "1012"),
        (Config(limit_bytes=5), "retention.bytes", "5"),
        (Config(limit_seconds=0.0001), "retention.ms", "1"),
        (Config(segment_bytes=4096), "segment.bytes", "4096"),
        (Config(segment_bytes=2 << 30), "segment.bytes", "2147483647"),
        (Config(segment_seconds=60), "segment.ms", "60000"),
        (Config(), "compression.type", "producer"),
    ],
)
def test_the_options_of_the_server(config, name, value):
    assert server_value(config, name) == value
