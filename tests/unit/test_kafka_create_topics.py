import pytest

from gstream.kafka import create_topics
from gstream.kafka.codes import Code
from gstream.kafka.topic_configs import own_values
from gstream.protocol.arguments import MAX_PARTITIONS
from tests.unit.admin_ground import answers, ask, make_node

Wanted = create_topics.API.request.CreatableTopic
Assignment = Wanted.CreatableReplicaAssignment
Setting = Wanted.CreatableTopicConfig


@pytest.fixture
def node():
    return make_node(kafka_partitions=3)


def wanted(name="orders", partitions=1, replicas=1, assigned=None, **configs):
    return Wanted(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        assignments=[Assignment(partition_index=number, broker_ids=ids) for number, ids in (assigned or {}).items()],
        configs=[Setting(name=key.replace("_", "."), value=value) for key, value in configs.items()],
    )


def create(node, *topics, version=None, validate_only=False):
    return ask(node, create_topics.API, version, topics=list(topics), validate_only=validate_only).topics


@pytest.mark.parametrize("version", create_topics.API.versions)
def test_a_topic_is_made(node, version):
    (row,) = create(node, wanted(partitions=2, retention_ms="5000"), version=version)
    assert (row.name, row.error_code) == ("orders", Code.NONE)
    topic = node.broker.topics["orders"]
    assert (len(topic.partitions), topic.retain_seconds, topic.options.is_log) == (2, 5, True)


def test_the_reply_tells_what_it_has(node):
    (row,) = create(node, wanted(partitions=2, retention_ms="5000"))
    assert (row.num_partitions, row.replication_factor, row.error_message) == (2, 1, None)
    assert row.topic_id == node.topic_id(node.broker.topics["orders"])
    configs = {config.name: (config.value, config.config_source) for config in row.configs}
    assert configs["retention.ms"] == ("5000", 1)
    assert configs["cleanup.policy"] == ("delete", 5)


def test_minus_one_is_as_the_server_says(node):
    (row,) = create(node, wanted(partitions=-1, replicas=-1))
    assert (row.error_code, row.num_partitions, row.replication_factor) == (Code.NONE, 3, 1)
    assert len(node.broker.topics["orders"].partitions) == 3


def test_partitions_may_be_assigned_to_the_one_server(node):
    (row,) = create(node, wanted(partitions=-1, replicas=-1, assigned={1: [1], 0: [1]}))
    assert (row.error_code, row.num_partitions) == (Code.NONE, 2)


def test_it_is_only_checked(node):
    rows = create(node, wanted(partitions=2), wanted("bad", replicas=3), validate_only=True)
    assert answers(rows) == {"orders": Code.NONE, "bad": Code.INVALID_REPLICATION_FACTOR}
    assert (rows[0].num_partitions, rows[0].topic_id) == (2, None)
    assert not node.broker.topics


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (wanted(""), Code.INVALID_TOPIC_EXCEPTION),
        (wanted(".."), Code.INVALID_TOPIC_EXCEPTION),
        (wanted("a/b"), Code.INVALID_TOPIC_EXCEPTION),
        (wanted("x" * 250), Code.INVALID_TOPIC_EXCEPTION),
        (wanted("there"), Code.TOPIC_ALREADY_EXISTS),
        (wanted(partitions=0), Code.INVALID_PARTITIONS),
        (wanted(partitions=-2), Code.INVALID_PARTITIONS),
        (wanted(partitions=MAX_PARTITIONS + 1), Code.POLICY_VIOLATION),
        (wanted(replicas=0), Code.INVALID_REPLICATION_FACTOR),
        (wanted(replicas=3), Code.INVALID_REPLICATION_FACTOR),
        (wanted(assigned={0: [1]}), Code.INVALID_REQUEST),
        (wanted(partitions=-1, assigned={0: [1]}), Code.INVALID_REQUEST),
        (wanted(partitions=-1, replicas=-1, assigned={0: [2]}), Code.INVALID_REPLICA_ASSIGNMENT),
        (wanted(partitions=-1, replicas=-1, assigned={0: [1, 2]}), Code.INVALID_REPLICA_ASSIGNMENT),
        (wanted(partitions=-1, replicas=-1, assigned={0: []}), Code.INVALID_REPLICA_ASSIGNMENT),
        (wanted(partitions=-1, replicas=-1, assigned={0: [1], 2: [1]}), Code.INVALID_REPLICA_ASSIGNMENT),
        (wanted(cleanup_policy="compact"), Code.INVALID_CONFIG),
        (wanted(dummy_doesntexist="x"), Code.INVALID_CONFIG),
        (wanted(retention_ms=None), Code.INVALID_CONFIG),
    ],
)
def test_what_cannot_be_made_is_refused_and_the_rest_is_made(node, topic, code):
    node.broker.topic("there")
    rows = create(node, topic, wanted("fine"))
    assert answers(rows) == {topic.name: code, "fine": Code.NONE}
    assert rows[0].error_message
    assert (rows[0].num_partitions, rows[0].replication_factor, rows[0].configs) == (-1, -1, [])
    assert set(node.broker.topics) == {"there", "fine"}


def test_a_topic_that_is_named_twice_is_not_made(node):
    rows = create(node, wanted(), wanted("fine"), wanted(partitions=2))
    assert answers(rows) == {"orders": Code.INVALID_REQUEST, "fine": Code.NONE}
    assert set(node.broker.topics) == {"fine"}


def test_of_two_values_the_last_one_is_set(node):
    topic = wanted(retention_ms="1")
    topic.configs.append(Setting(name="retention.ms", value="2"))
    assert answers(create(node, topic)) == {"orders": Code.NONE}
    assert own_values(node, node.broker.topics["orders"]) == {"retention.ms": "2"}


def test_limits_are_the_servers():
    node = make_node(max_topics=2)
    rows = create(node, wanted("one"), wanted("two"), wanted("three"))
    assert answers(rows) == {"one": Code.NONE, "two": Code.NONE, "three": Code.POLICY_VIOLATION}
    assert rows[2].error_message == "there are 2 topics, the server's --max-topics"


def test_limits_are_looked_at_when_it_is_only_checked():
    node = make_node(max_topics=2)
    rows = create(node, wanted(partitions=3), wanted("fine", partitions=2), validate_only=True)
    assert answers(rows) == {"orders": Code.POLICY_VIOLATION, "fine": Code.NONE}


@pytest.mark.parametrize("version", create_topics.API.versions)
def test_very_many(node, version):
    names = [f"t{number}" for number in range(150)]
    rows = create(node, *map(wanted, names), version=version)
    assert answers(rows) == dict.fromkeys(names, Code.NONE)
