"""Groups, as Kafka's clients form them and share the partitions of a topic."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaException, TopicPartition
from kafka.protocol.admin import DescribeGroupsRequest, DescribeGroupsResponse
from kafka.protocol.consumer import JoinGroupRequest, JoinGroupResponse

from gstream.kafka.codes import Code
from gstream.testing import ServerThread, wait_until
from tests.integration.kafka.clients import Record, confluent_produce, kcat
from tests.integration.kafka.conftest import Raw
from tests.integration.kafka.group_consumers import (
    CLIENTS,
    ConfluentConsumer,
    GroupConsumer,
    KcatConsumer,
    consumers_of,
    settle,
)

PARTITIONS = 4
ALL = set(range(PARTITIONS))

Start = Callable[..., Any]


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "partitions": PARTITIONS, "sync_seconds": float("inf")}


@pytest.fixture(params=CLIENTS)
def start(request: pytest.FixtureRequest, server: ServerThread) -> Iterator[Start]:
    """Starts consumers of each client."""
    yield from consumers_of(CLIENTS[request.param], server.bootstrap)


@pytest.fixture
def start_confluent(server: ServerThread) -> Iterator[Start]:
    yield from consumers_of(ConfluentConsumer, server.bootstrap)


def fill(server: ServerThread, count: int = 5) -> None:
    """So many records in each partition: their values name both."""
    for partition in ALL:
        values = [Record(b"%d-%d" % (partition, number)) for number in range(count)]
        confluent_produce(server.bootstrap, "orders", values, partition=partition)


def generation(server: ServerThread, group: str = "workers") -> int:
    def look(service: Any) -> int:
        found = service.kafka.node.groups.find(group)
        return -1 if found is None else found.generation

    return server.call(look)


def states(server: ServerThread, group: str = "workers") -> tuple[str, int]:
    """What DescribeGroups says: the state, and how many members there are."""
    with Raw(server) as raw:
        (row,) = raw.ask(DescribeGroupsRequest(groups=[group]), 5, DescribeGroupsResponse).groups
    return row.group_state, len(row.members)


def shared(*consumers: GroupConsumer) -> bool:
    """Whether they have all partitions, each one of them, and none has nothing."""
    parts = [consumer.partitions for consumer in consumers]
    return all(parts) and sum(map(len, parts)) == PARTITIONS and set().union(*parts) == ALL


def test_one_gets_everything(server: ServerThread, start: Start) -> None:
    fill(server)
    consumer = start("workers", "orders")
    found: list[bytes] = []

    def look() -> bool:
        found.extend(consumer.poll())
        return len(found) >= 5 * PARTITIONS

    wait_until(look, "all records came")
    assert sorted(found) == sorted(b"%d-%d" % (partition, number) for partition in ALL for number in range(5))
    assert states(server) == ("Stable", 1)


def test_two_share_and_one_leaves(server: ServerThread, start: Start) -> None:
    fill(server)
    first = start("workers", "orders")
    settle(lambda: first.partitions == ALL, first)
    second = start("workers", "orders")
    settle(lambda: shared(first, second), first, second)
    assert states(server) == ("Stable", 2)
    third = start("workers", "orders")
    settle(lambda: shared(first, second, third), first, second, third)
    first.close()
    settle(lambda: shared(second, third), second, third)
    second.close()
    settle(lambda: third.partitions == ALL, third)
    assert states(server) == ("Stable", 1)


@pytest.mark.parametrize("engine", ["memory"], indirect=True)  # it takes some seconds
@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_one_dies(server: ServerThread, start: Start) -> None:
    fill(server)
    first = start("workers", "orders")
    settle(lambda: first.partitions == ALL, first)
    second = KcatConsumer(server.bootstrap, "workers", "orders")
    try:
        settle(lambda: len(first.partitions) == PARTITIONS // 2 and states(server) == ("Stable", 2), first)
    finally:
        second.kill()
    settle(lambda: first.partitions == ALL, first)
    assert states(server) == ("Stable", 1)


def test_the_next_one_goes_on_where_the_last_one_was(server: ServerThread, start: Start) -> None:
    fill(server)
    first = start("workers", "orders")
    found: list[bytes] = []

    def look(consumer: GroupConsumer, count: int) -> Callable[[], bool]:
        def enough() -> bool:
            found.extend(consumer.poll())
            return len(found) >= count

        return enough

    wait_until(look(first, 5 * PARTITIONS), "all records came")
    first.commit()
    first.close()
    assert states(server) == ("Empty", 0)
    found.clear()
    confluent_produce(server.bootstrap, "orders", [Record(b"more")], partition=2)
    second = start("workers", "orders")
    wait_until(look(second, 1), "one more record came")
    assert found == [b"more"]


def test_a_static_member_comes_back_and_nobody_notices(server: ServerThread, start: Start) -> None:
    fill(server)
    first, second = (start("workers", "orders", instance=name) for name in ("one", "two"))
    settle(lambda: shared(first, second), first, second)
    parts, before, revoked = (first.partitions, second.partitions), generation(server), first.revoked
    second.close()
    assert states(server) == ("Stable", 2), "it may come back"
    again = start("workers", "orders", instance="two")
    settle(lambda: again.partitions != set(), first, again)
    assert (first.partitions, again.partitions) == parts
    assert (first.revoked, generation(server)) == (revoked, before)


def test_a_static_member_whose_place_is_taken_is_fenced(server: ServerThread, start_confluent: Start) -> None:
    fill(server)
    first = start_confluent("workers", "orders", instance="one")
    settle(lambda: first.partitions == ALL, first)
    second = start_confluent("workers", "orders", instance="one")

    def fenced() -> bool:
        second.poll()
        try:
            first.poll()
        except KafkaException as error:
            return "fenced by other consumer" in str(error)
        return False

    wait_until(fenced, "the first one is fenced")
    settle(lambda: second.partitions == ALL, second)


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_all_ways_to_share(server: ServerThread, start_confluent: Start, strategy: str) -> None:
    fill(server)
    more = {"partition.assignment.strategy": strategy}
    first, second = (start_confluent("workers", "orders", **more) for _ in range(2))
    settle(lambda: shared(first, second), first, second)
    third = start_confluent("workers", "orders", **more)
    settle(lambda: shared(first, second, third), first, second, third)


def test_offsets_come_back_as_they_were_committed(server: ServerThread) -> None:
    fill(server)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.bootstrap, "group.id": "alone"})
    try:
        consumer.assign([TopicPartition("orders", 1, 0)])
        place = TopicPartition("orders", 1, 3, metadata="so far")
        (committed,) = consumer.commit(offsets=[place], asynchronous=False)
        assert committed.error is None
        found = consumer.committed([TopicPartition("orders", 1), TopicPartition("orders", 2)])
        assert [(each.offset, each.metadata) for each in found] == [(3, "so far"), (-1001, None)]
    finally:
        consumer.close()
    assert states(server, "alone") == ("Empty", 0)


def test_groups_do_not_disturb_each_other(server: ServerThread, start_confluent: Start) -> None:
    fill(server)
    first, second = start_confluent("workers", "orders"), start_confluent("others", "orders")
    settle(lambda: first.partitions == second.partitions == ALL, first, second)


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_kcat_consumes_in_a_group(server: ServerThread) -> None:
    fill(server)
    out = kcat(server.bootstrap, "-G", "workers", "-e", "-c", "20", "-X", "auto.offset.reset=earliest", "orders")
    assert sorted(out.split()) == sorted(b"%d-%d" % (partition, number) for partition in ALL for number in range(5))
    wait_until(lambda: states(server) == ("Empty", 0), "kcat leaves")


def join_raw(raw: Raw, version: int = 3, id: str = "", session_ms: int = 60_000) -> None:
    request = JoinGroupRequest(
        group_id="workers",
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=60_000,
        member_id=id,
        protocol_type="consumer",
        protocols=[JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")],
    )
    raw.send_request(request, version)


def test_who_waits_for_others_is_told_that_the_server_stops(
    start_server: Callable[..., ServerThread], connect: Callable[..., Raw]
) -> None:
    server = start_server(kafka_group_delay_seconds=1000.0)
    waiting = connect(server)
    join_raw(waiting)
    wait_until(lambda: states(server) == ("PreparingRebalance", 1), "it waits for others")
    server.stop()
    told = JoinGroupResponse.decode(waiting.read_frame(), version=3, header=True)
    assert told.error_code == Code.COORDINATOR_NOT_AVAILABLE, "it looks for another coordinator, and comes again"


@pytest.mark.parametrize("engine", ["memory"], indirect=True)
def test_who_waits_and_vanishes_is_not_waited_for(server: ServerThread, connect: Callable[..., Raw]) -> None:
    first, second = connect(server), connect(server)
    join_raw(first)
    leader = JoinGroupResponse.decode(first.read_frame(), version=3, header=True)
    join_raw(second, session_ms=300)
    wait_until(lambda: states(server) == ("PreparingRebalance", 2), "the second one waits")
    second.socket.close()
    wait_until(lambda: states(server) == ("PreparingRebalance", 1), "it is taken for dead")
    join_raw(first, id=leader.member_id)
    told = JoinGroupResponse.decode(first.read_frame(), version=3, header=True)
    assert (told.error_code, told.generation_id, len(told.members)) == (0, 2, 1)


@pytest.mark.parametrize("engine", ["memory"], indirect=True)
def test_who_waits_longer_than_its_session_is_waited_for(server: ServerThread, connect: Callable[..., Raw]) -> None:
    first, second = connect(server), connect(server)
    join_raw(first)
    leader = JoinGroupResponse.decode(first.read_frame(), version=3, header=True)
    join_raw(second, session_ms=10)
    wait_until(lambda: states(server) == ("PreparingRebalance", 2), "the second one waits")

    def deadline(service: Any) -> float:
        return max(member.deadline for member in service.kafka.node.groups.find("workers").roster if member.joins)

    before = server.call(deadline)
    wait_until(lambda: server.call(deadline) > before + 0.05, "its session would have ended five times")
    join_raw(first, id=leader.member_id)
    assert JoinGroupResponse.decode(second.read_frame(), version=3, header=True).generation_id == 2
