import pytest

from gstream.kafka import alter_configs
from gstream.kafka.codes import Code
from gstream.kafka.topic_configs import describe_topic, own_values
from tests.unit.admin_ground import BROKER, LOGGER, TOPIC, answers, ask, make_node

Resource = alter_configs.API.request.AlterConfigsResource
Setting = Resource.AlterableConfig


@pytest.fixture
def node():
    node = make_node()
    node.broker.set_up("orders", retain_seconds=5)
    return node


def resource(name, *configs, kind=TOPIC):
    settings = [Setting(name=key, value=value) for key, value in configs]
    return Resource(resource_type=kind, resource_name=name, configs=settings)


def alter(node, *resources, version=None, validate_only=False):
    return ask(node, alter_configs.API, version, resources=list(resources), validate_only=validate_only).responses


def own(node):
    return own_values(node, node.broker.topics["orders"])


@pytest.mark.parametrize("version", alter_configs.API.versions)
def test_all_that_is_set_is_replaced(node, version):
    (row,) = alter(node, resource("orders", ("compression.type", "gzip"), ("flush.ms", "12345678")), version=version)
    assert (row.resource_type, row.resource_name, row.error_code, row.error_message) == (TOPIC, "orders", 0, None)
    assert own(node) == {"compression.type": "gzip", "flush.ms": "12345678"}
    assert node.broker.topics["orders"].retain_seconds is None


def test_of_two_values_the_last_one_is_set(node):
    alter(node, resource("orders", ("retention.ms", "1"), ("retention.ms", "2")))
    assert own(node) == {"retention.ms": "2"}


def test_all_that_is_described_may_be_set(node):
    described = describe_topic(node.config, own(node))
    rows = alter(node, resource("orders", *((entry.name, entry.value) for entry in described)))
    assert answers(rows) == {"orders": Code.NONE}
    assert own(node) == {entry.name: entry.value for entry in described}


def test_nothing_is_as_the_server_says(node):
    assert answers(alter(node, resource("orders"))) == {"orders": Code.NONE}
    assert own(node) == {}


def test_it_is_only_checked(node):
    rows = alter(node, resource("orders", ("retention.ms", "1")), validate_only=True)
    assert answers(rows) == {"orders": Code.NONE}
    assert own(node) == {"retention.ms": "5000"}


@pytest.mark.parametrize(
    ("wanted", "code", "text"),
    [
        (resource("nothing", ("compression.type", "lz4")), Code.UNKNOWN_TOPIC_OR_PARTITION, "does not exist"),
        (resource("orders", ("offset.metadata.max.bytes", "1")), Code.INVALID_CONFIG, "offset.metadata.max.bytes"),
        (resource("orders", ("retention.ms", "soon")), Code.INVALID_CONFIG, "possible is"),
        (resource("orders", ("retention.ms", None)), Code.INVALID_CONFIG, "Null value"),
        (resource("1", ("message.max.bytes", "1"), kind=BROKER), Code.INVALID_REQUEST, "by the server's options"),
        (resource("", ("message.max.bytes", "1"), kind=BROKER), Code.INVALID_REQUEST, "by the server's options"),
        (resource("2", ("message.max.bytes", "1"), kind=BROKER), Code.INVALID_REQUEST, "Unexpected broker id"),
        (resource("1", ("root", "DEBUG"), kind=LOGGER), Code.INVALID_REQUEST, "--log-level"),
        (resource("x", kind=32), Code.INVALID_REQUEST, "Unsupported resource type"),
    ],
)
def test_what_cannot_be_had_changes_nothing(node, wanted, code, text):
    (row,) = alter(node, wanted)
    assert (row.error_code, text in row.error_message) == (code, True)
    assert own(node) == {"retention.ms": "5000"}


def test_each_resource_is_answered(node):
    rows = alter(node, resource("nothing"), resource("orders", ("retention.bytes", "9")))
    assert answers(rows) == {"nothing": Code.UNKNOWN_TOPIC_OR_PARTITION, "orders": Code.NONE}
    assert own(node) == {"retention.bytes": "9"}


def test_a_resource_that_is_named_twice_stays_as_it_is(node):
    rows = alter(node, resource("orders", ("retention.ms", "1")), resource("orders", ("retention.ms", "2")))
    assert [row.error_code for row in rows] == [Code.INVALID_REQUEST, Code.INVALID_REQUEST]
    assert own(node) == {"retention.ms": "5000"}
