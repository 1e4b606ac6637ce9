import pytest

from gstream.kafka import describe_configs
from gstream.kafka.codes import Code
from gstream.kafka.configs import Source, Type
from tests.unit.admin_ground import BROKER, LOGGER, TOPIC, ask, make_node

Resource = describe_configs.API.request.DescribeConfigsResource


@pytest.fixture
def node():
    node = make_node()
    node.broker.set_up("orders", retain_seconds=5)
    return node


def describe(node, kind, name, keys=None, version=None, **fields):
    resources = [Resource(resource_type=kind, resource_name=name, configuration_keys=keys)]
    (result,) = ask(node, describe_configs.API, version, resources=resources, **fields).results
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result


def only(result):
    (row,) = result.configs
    return row


@pytest.mark.parametrize("version", describe_configs.API.versions)
def test_a_value_of_a_topic(node, version):
    row = only(describe(node, TOPIC, "orders", ["retention.ms"], version))
    assert (row.name, row.value, row.read_only, row.is_sensitive) == ("retention.ms", "5000", False, False)
    if version >= 1:
        assert (row.config_source, row.synonyms) == (Source.TOPIC, [])
    else:
        assert row.is_default is False
    if version >= 3:
        assert (row.config_type, row.documentation) == (Type.LONG, None)


def test_synonyms_and_documentation_when_asked_for(node):
    fields = {"include_synonyms": True, "include_documentation": True}
    row = only(describe(node, TOPIC, "orders", ["retention.ms"], **fields))
    synonyms = [(synonym.name, synonym.value, synonym.source) for synonym in row.synonyms]
    assert synonyms == [("retention.ms", "5000", Source.TOPIC), ("log.retention.ms", "-1", Source.DEFAULT)]
    assert row.documentation.startswith("How old messages may become")


@pytest.mark.parametrize("keys", [None, []])
def test_all_keys(node, keys):
    names = [row.name for row in describe(node, TOPIC, "orders", keys).configs]
    assert {"cleanup.policy", "retention.bytes", "segment.bytes"} <= set(names)
    assert names == sorted(names)


def test_a_key_that_is_not_known_is_left_out(node):
    assert describe(node, TOPIC, "orders", ["retention"]).configs == []


def test_the_server(node):
    row = only(describe(node, BROKER, "1", ["advertised.listeners"]))
    assert (row.value, row.config_source) == ("PLAINTEXT://127.0.0.1:9092", Source.DEFAULT)
    assert len(describe(node, BROKER, "1").configs) > 40


@pytest.mark.parametrize(("kind", "name"), [(BROKER, ""), (LOGGER, "1")])
def test_where_nothing_is_set(node, kind, name):
    result = describe(node, kind, name)
    assert (result.error_code, result.error_message, result.configs) == (Code.NONE, None, [])


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (TOPIC, "nothing", Code.UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "", Code.INVALID_TOPIC_EXCEPTION),
        (BROKER, "2", Code.INVALID_REQUEST),
        (BROKER, "str", Code.INVALID_REQUEST),
        (BROKER, "\u00b2", Code.INVALID_REQUEST),
        (LOGGER, "", Code.INVALID_REQUEST),
        (16, "clients", Code.INVALID_REQUEST),
    ],
)
def test_what_does_not_exist(node, kind, name, code):
    result = describe(node, kind, name)
    assert (result.error_code, bool(result.error_message), result.configs) == (code, True, [])


def test_what_is_asked_for_again_is_shown_once(node):
    asked = [(BROKER, "1", None), (TOPIC, "orders", None), (TOPIC, "orders", ["retention.ms"])]
    resources = [
        Resource(resource_type=kind, resource_name=name, configuration_keys=keys) for kind, name, keys in asked
    ]
    results = ask(node, describe_configs.API, resources=resources * 1000).results
    assert [(result.resource_type, len(result.configs) > 1) for result in results] == [
        (BROKER, True),
        (TOPIC, True),
        (TOPIC, False),
    ]


@pytest.mark.parametrize("version", [0, 4])
def test_a_server_of_a_number_that_is_none(node, version):
    for name in ("1" * 5000, "x" * 30_000):
        result = describe(node, BROKER, name, version=version)
        assert result.error_code == Code.INVALID_REQUEST
        assert len(result.error_message) <= 1000
