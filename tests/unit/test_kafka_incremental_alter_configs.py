import pytest

from gstream.kafka import incremental_alter_configs
from gstream.kafka.codes import Code
from gstream.kafka.incremental_alter_configs import Operation
from gstream.kafka.topic_configs import own_values
from tests.unit.admin_ground import BROKER, TOPIC, ask, make_node

API = incremental_alter_configs.API
Resource = API.request.AlterConfigsResource
Setting = Resource.AlterableConfig
SET, DELETE, APPEND, SUBTRACT = Operation


@pytest.fixture
def node():
    node = make_node()
    node.broker.set_up("orders", retain_seconds=5)
    return node


def alter(node, *changes, version=None, validate_only=False, kind=TOPIC, name="orders"):
    settings = [Setting(name=key, config_operation=operation, value=value) for operation, key, value in changes]
    resources = [Resource(resource_type=kind, resource_name=name, configs=settings)]
    (row,) = ask(node, API, version, resources=resources, validate_only=validate_only).responses
    return row.error_code, row.error_message


def own(node):
    return own_values(node, node.broker.topics["orders"])


@pytest.mark.parametrize("version", API.versions)
def test_what_is_not_named_stays(node, version):
    assert alter(node, (SET, "retention.bytes", "9"), version=version) == (Code.NONE, None)
    assert own(node) == {"retention.ms": "5000", "retention.bytes": "9"}


def test_a_value_goes(node):
    assert alter(node, (DELETE, "retention.ms", None), (DELETE, "segment.bytes", None)) == (Code.NONE, None)
    assert own(node) == {}
    assert node.broker.topics["orders"].retain_seconds is None


def test_it_is_only_checked(node):
    assert alter(node, (SET, "retention.ms", "1"), validate_only=True) == (Code.NONE, None)
    assert own(node) == {"retention.ms": "5000"}


def test_lists_get_longer_and_shorter(node):
    name = "leader.replication.throttled.replicas"
    assert alter(node, (APPEND, name, "0:1,1:1")) == (Code.NONE, None)
    assert alter(node, (APPEND, name, "1:1,2:1")) == (Code.NONE, None)
    assert own(node)[name] == "0:1,1:1,2:1"
    assert alter(node, (SUBTRACT, name, "1:1")) == (Code.NONE, None)
    assert own(node)[name] == "0:1,2:1"


def test_a_list_is_checked_as_it_becomes(node):
    code, text = alter(node, (APPEND, "cleanup.policy", "compact"))
    assert (code, "compaction is not served yet" in text) == (Code.INVALID_CONFIG, True)
    assert alter(node, (APPEND, "cleanup.policy", "delete")) == (Code.NONE, None)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ((SET, "dummy", "x"), Code.INVALID_CONFIG, "Unknown topic config name: dummy"),
        ((DELETE, "dummy", None), Code.INVALID_CONFIG, "Unknown topic config name: dummy"),
        ((APPEND, "dummy", "x"), Code.INVALID_CONFIG, "Unknown topic config name: dummy"),
        ((SET, "retention.ms", None), Code.INVALID_REQUEST, "Null value not supported for : retention.ms"),
        (
            (APPEND, "retention.ms", "1"),
            Code.INVALID_CONFIG,
            "Can't append to key retention.ms because its type is not LIST.",
        ),
        (
            (SUBTRACT, "retention.ms", "1"),
            Code.INVALID_CONFIG,
            "Can't subtract from key retention.ms because its type is not LIST.",
        ),
        ((9, "retention.ms", "1"), Code.INVALID_REQUEST, "Unknown operation for retention.ms: 9"),
    ],
)
def test_what_cannot_be_had_changes_nothing(node, change, code, text):
    assert alter(node, (SET, "retention.bytes", "9"), change) == (code, text)
    assert own(node) == {"retention.ms": "5000"}


def test_a_key_that_is_there_twice(node):
    code, _ = alter(node, (SET, "retention.ms", "1"), (DELETE, "retention.ms", None))
    assert code == Code.INVALID_REQUEST


def test_the_server_is_not_altered(node):
    code, text = alter(node, (SET, "log.retention.ms", "1"), kind=BROKER, name="1")
    assert (code, text) == (Code.INVALID_REQUEST, "the server's configuration: set it by the server's options")
