"""Administration with confluent-kafka's and kafka-python's clients, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewPartitions as AioNewPartitions
from aiokafka.admin import NewTopic as AioNewTopic
from aiokafka.admin.config_resource import ConfigResource as AioConfigResource
from aiokafka.admin.config_resource import ConfigResourceType
from confluent_kafka import ElectionType, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewPartitions as PythonNewPartitions
from kafka.admin import NewTopic as PythonNewTopic
from kafka.errors import (
    ElectionNotNeededError,
    InvalidConfigurationError,
    InvalidReplicationAssignmentError,
    LogDirNotFoundError,
    NoError,
    NoReassignmentInProgressError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kafka.structs import TopicPartitionReplica

from gstream import Client
from gstream.testing import TIMEOUT_SECONDS, ServerThread


@pytest.fixture
def admin(server: ServerThread) -> AdminClient:
    return AdminClient({"bootstrap.servers": server.bootstrap})


@pytest.fixture
def python_admin(server: ServerThread) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    yield admin
    admin.close()


def error_of(future: Any) -> KafkaError:
    with pytest.raises(KafkaException) as raised:
        future.result(TIMEOUT_SECONDS)
    error: KafkaError = raised.value.args[0]
    return error


def create(admin: AdminClient, name: str = "orders", partitions: int = 1, **more: Any) -> None:
    admin.create_topics([NewTopic(name, partitions, **more)])[name].result(TIMEOUT_SECONDS)


def count_partitions(admin: AdminClient, name: str) -> int:
    return len(admin.list_topics(name, timeout=TIMEOUT_SECONDS).topics[name].partitions)


def configs(admin: AdminClient, name: str = "orders") -> dict[str, ConfigEntry]:
    return described(admin, ConfigResource(ResourceType.TOPIC, name))


def described(admin: AdminClient, resource: ConfigResource) -> dict[str, ConfigEntry]:
    found: dict[str, ConfigEntry] = admin.describe_configs([resource])[resource].result(TIMEOUT_SECONDS)
    return found


# --- topics


def test_topics_are_made_and_removed(admin):
    create(admin, partitions=3)
    assert count_partitions(admin, "orders") == 3
    admin.delete_topics(["orders"])["orders"].result(TIMEOUT_SECONDS)
    assert "orders" not in admin.list_topics(timeout=TIMEOUT_SECONDS).topics


def test_what_cannot_be_made_says_why(admin):
    create(admin)
    futures = admin.create_topics(
        [
            NewTopic("orders", 1),
            NewTopic("no/name", 1),
            NewTopic("copies", 1, replication_factor=3),
            NewTopic("compacted", 1, config={"cleanup.policy": "compact"}),
            NewTopic("fine", 2, replica_assignment=[[1], [1]]),
        ]
    )
    assert error_of(futures["orders"]).code() == KafkaError.TOPIC_ALREADY_EXISTS
    assert error_of(futures["no/name"]).code() == KafkaError.TOPIC_EXCEPTION
    assert error_of(futures["copies"]).code() == KafkaError.INVALID_REPLICATION_FACTOR
    error = error_of(futures["compacted"])
    assert (error.code(), "compaction is not served yet" in error.str()) == (KafkaError.INVALID_CONFIG, True)
    futures["fine"].result(TIMEOUT_SECONDS)
    assert set(admin.list_topics(timeout=TIMEOUT_SECONDS).topics) == {"orders", "fine"}
    assert count_partitions(admin, "fine") == 2


def test_checking_makes_nothing(admin):
    admin.create_topics([NewTopic("orders", 1)], validate_only=True)["orders"].result(TIMEOUT_SECONDS)
    assert admin.list_topics(timeout=TIMEOUT_SECONDS).topics == {}


def test_a_topic_that_does_not_exist_cannot_be_removed(admin):
    assert error_of(admin.delete_topics(["orders"])["orders"]).code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_topic_with_consumers_of_the_line_protocol_stays(server, admin):
    with Client(*server, topic="orders") as client:
        client.publish(b"one")
        with client.lease():
            assert error_of(admin.delete_topics(["orders"])["orders"]).code() == KafkaError.POLICY_VIOLATION
    admin.delete_topics(["orders"])["orders"].result(TIMEOUT_SECONDS)


def test_partitions_are_added(server, admin):
    create(admin, partitions=2)
    admin.create_partitions([NewPartitions("orders", 4)])["orders"].result(TIMEOUT_SECONDS)
    assert count_partitions(admin, "orders") == 4
    assert error_of(admin.create_partitions([NewPartitions("orders", 3)])["orders"]).code() == (
        KafkaError.INVALID_PARTITIONS
    )
    with Client(*server, topic="orders") as client:
        for number in range(4):
            client.publish(b"%d" % number)
        assert sorted(client.consume(4)) == [b"0", b"1", b"2", b"3"]


def test_no_other_leader_is_needed(admin):
    create(admin)
    place = confluent_kafka.TopicPartition("orders", 0)
    for kind in (ElectionType.PREFERRED, ElectionType.UNCLEAN):
        (error,) = admin.elect_leaders(kind, [place]).result(TIMEOUT_SECONDS).values()
        assert error.code() == KafkaError.ELECTION_NOT_NEEDED
        assert admin.elect_leaders(kind).result(TIMEOUT_SECONDS) == {}


# --- configurations


def test_a_topics_configuration_is_set_when_it_is_made(admin):
    create(admin, config={"retention.ms": "86400000", "compression.type": "lz4"})
    found = configs(admin)
    assert (found["retention.ms"].value, found["retention.ms"].source) == ("86400000", 1)
    assert (found["compression.type"].value, found["compression.type"].is_default) == ("lz4", False)
    assert (found["retention.bytes"].value, found["retention.bytes"].is_default) == ("-1", True)
    assert [each.name for each in found["retention.ms"].synonyms.values()] == ["retention.ms", "log.retention.ms"]


def test_single_values_are_altered(admin):
    create(admin, config={"retention.ms": "1000", "segment.bytes": "20000"})
    change = ConfigResource(
        ResourceType.TOPIC,
        "orders",
        incremental_configs=[
            ConfigEntry("retention.bytes", "5000", incremental_operation=AlterConfigOpType.SET),
            ConfigEntry("segment.bytes", None, incremental_operation=AlterConfigOpType.DELETE),
        ],
    )
    admin.incremental_alter_configs([change])[change].result(TIMEOUT_SECONDS)
    found = configs(admin)
    own = {name: entry.value for name, entry in found.items() if not entry.is_default}
    assert own == {"retention.ms": "1000", "retention.bytes": "5000"}


def test_the_server_is_described_and_not_altered(server, admin):
    found = described(admin, ConfigResource(ResourceType.BROKER, "1"))
    assert found["advertised.listeners"].value == f"PLAINTEXT://{server.bootstrap}"
    assert found["num.partitions"].value == "1"
    change = ConfigResource(
        ResourceType.BROKER,
        "1",
        incremental_configs=[ConfigEntry("num.partitions", "2", incremental_operation=AlterConfigOpType.SET)],
    )
    error = error_of(admin.incremental_alter_configs([change])[change])
    assert (error.code(), "by the server's options" in error.str()) == (KafkaError.INVALID_REQUEST, True)


def test_a_batch_larger_than_the_topic_allows_is_refused(server, admin):
    create(admin, config={"max.message.bytes": "1000"})
    told: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": server.bootstrap})
    for size in (100, 2000):
        producer.produce("orders", b"x" * size, on_delivery=lambda error, _: told.append(error and error.code()))
        producer.flush(TIMEOUT_SECONDS)
    assert told == [None, KafkaError.MSG_SIZE_TOO_LARGE]


def test_what_is_set_by_one_protocol_is_seen_by_the_other(server, admin):
    with Client(*server) as client:
        client.create_topic("orders", retain_seconds=5)
    assert configs(admin)["retention.ms"].value == "5000"


# --- kafka-python


def test_kafka_python_makes_and_alters_topics(python_admin):
    made = python_admin.create_topics([PythonNewTopic("orders", 2, 1, topic_configs={"retention.ms": "1000"})])
    assert made["topics"][0]["error_code"] == 0
    with pytest.raises(TopicAlreadyExistsError):
        python_admin.create_topics([PythonNewTopic("orders", 2, 1)])
    with pytest.raises(InvalidConfigurationError, match=r"did you mean retention\.ms"):
        python_admin.create_topics([PythonNewTopic("other", 1, 1, topic_configs={"retention.m": "1"})])
    python_admin.create_partitions({"orders": PythonNewPartitions(3)})
    assert len(python_admin.describe_topics(["orders"])[0]["partitions"]) == 3
    python_admin.delete_topics(["orders"])
    assert python_admin.list_topics() == []


def test_kafka_python_sees_where_things_are(server, python_admin, settings):
    with Client(*server, topic="orders") as client:
        client.publish(b"one")
    (broker,) = python_admin.describe_log_dirs()
    (place,) = broker["log_dirs"]
    assert place["log_dir"] == settings.get("data_dir", "memory")
    (topic,) = place["topics"]
    assert (topic["name"], topic["partitions"][0]["partition_size"] > 0) == ("orders", True)


def test_kafka_python_finds_that_nothing_moves(python_admin, settings):
    python_admin.create_topics([PythonNewTopic("orders", 2, 1)])
    orders, other = TopicPartition("orders", 0), TopicPartition("orders", 7)
    (row,) = python_admin.elect_leaders(0, {"orders": [0, 1]}).replica_election_results
    assert [(each.partition_id, each.error_code) for each in row.partition_result] == [
        (0, ElectionNotNeededError.errno),
        (1, ElectionNotNeededError.errno),
    ]
    assert python_admin.alter_partition_reassignments({orders: [1]}) == {orders: None}
    for place, servers, error in (
        (orders, [1, 2], InvalidReplicationAssignmentError),
        (orders, None, NoReassignmentInProgressError),
        (other, [1], UnknownTopicOrPartitionError),
    ):
        assert python_admin.alter_partition_reassignments({place: servers}) == {place: error}
    assert python_admin.list_partition_reassignments() == {}
    replica = TopicPartitionReplica("orders", 0, 1)
    here = settings.get("data_dir", "memory")
    assert python_admin.alter_replica_log_dirs({replica: here}) == {replica: NoError}
    assert python_admin.alter_replica_log_dirs({replica: "/elsewhere"}) == {replica: LogDirNotFoundError}


# --- aiokafka, which asks in old versions


def test_aiokafka_makes_and_alters_topics(server):
    async def administrate() -> tuple[list[tuple[str, int]], list[str], list[str]]:
        admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
        await admin.start()
        try:
            made = await admin.create_topics([AioNewTopic("orders", 2, 1, topic_configs={"retention.ms": "1000"})])
            resource = AioConfigResource(ConfigResourceType.TOPIC, "orders")
            (described,) = await admin.describe_configs([resource])
            await admin.create_partitions({"orders": AioNewPartitions(3)})
            before = await admin.list_topics()
            await admin.delete_topics(["orders"])
            own = [entry[1] for entry in described.resources[0][4] if entry[0] == "retention.ms"]
            return [(name, code) for name, code, _ in made.topic_errors], own, before
        finally:
            await admin.close()

    assert asyncio.run(administrate()) == ([("orders", 0)], ["1000"], ["orders"])


# --- what is kept


def test_all_of_it_outlives_the_server(tmp_path):
    data_dir = str(tmp_path / "data")
    with ServerThread(kafka=True, data_dir=data_dir) as server:
        admin = AdminClient({"bootstrap.servers": server.bootstrap})
        create(admin, config={"retention.ms": "1000", "flush.ms": "9223372036854775807"})
        admin.create_partitions([NewPartitions("orders", 3)])["orders"].result(TIMEOUT_SECONDS)
        create(admin, "gone", config={"retention.ms": "1000"})
        admin.delete_topics(["gone"])["gone"].result(TIMEOUT_SECONDS)
    with ServerThread(kafka=True, data_dir=data_dir) as server:
        admin = AdminClient({"bootstrap.servers": server.bootstrap})
        assert set(admin.list_topics(timeout=TIMEOUT_SECONDS).topics) == {"orders"}
        assert count_partitions(admin, "orders") == 3
        own = {name: entry.value for name, entry in configs(admin).items() if not entry.is_default}
        assert own == {"retention.ms": "1000", "flush.ms": "9223372036854775807"}
        create(admin, "gone")
        assert configs(admin, "gone")["retention.ms"].is_default
