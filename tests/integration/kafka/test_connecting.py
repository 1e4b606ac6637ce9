"""Clients connect: which versions they are told of, which addresses; how the listener starts, stops and refuses."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient
from kafka.protocol.admin import DescribeClusterRequest, DescribeClusterResponse
from kafka.protocol.consumer import FetchRequest, FetchResponse
from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse

from gstream import Client
from gstream.kafka.table import TABLE
from gstream.testing import ServerProcess, ServerThread, Session, wait_until

RANGES = sorted((key, api.versions[0], api.versions[-1]) for key, api in TABLE.items())


def run(*arguments, **more):
    command = [sys.executable, "-m", "gstream", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


# --- the first request


@pytest.mark.parametrize("version", range(5))
def test_clients_are_told_what_is_served(start_server, connect, version):
    client = connect(start_server())
    request = ApiVersionsRequest(client_software_name="test", client_software_version="1")
    reply = client.ask(request, version, ApiVersionsResponse)
    assert reply.error_code == 0
    assert [(row.api_key, row.min_version, row.max_version) for row in reply.api_keys] == RANGES


def test_too_new_a_client_is_told_in_the_oldest_version(start_server, connect):
    client = connect(start_server())
    client.send_frame(struct.pack(">hhih", 18, 77, 5, -1) + b"\0from the future")
    frame = client.read_frame()
    assert frame == bytes.fromhex("00000005 0023 00000001 0012 0000 0004")
    reply = client.ask(
        ApiVersionsRequest(client_software_name="t", client_software_version="1"), 4, ApiVersionsResponse
    )
    assert reply.error_code == 0  # the connection is still in step


@pytest.mark.parametrize("key", sorted(TABLE))
def test_every_api_has_the_versions_of_its_classes(key):
    api = TABLE[key]
    assert key == api.request.API_KEY
    assert api.versions[-1] <= api.request.max_version
    assert api.name == api.request.name.removesuffix("Request")


# --- clients of many makes


def test_kcat(server):
    done = subprocess.run(
        ["kcat", "-b", server.bootstrap, "-L", "-t", "orders"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"broker 1 at {server.bootstrap} (controller)" in done.stdout
    assert 'topic "orders" with 1 partitions' in done.stdout
    assert "partition 0, leader 1, replicas: 1, isrs: 1" in done.stdout


def test_confluent_kafka(server):
    client = AdminClient({"bootstrap.servers": server.bootstrap})
    known = client.list_topics(timeout=30)
    assert {each.id: f"{each.host}:{each.port}" for each in known.brokers.values()} == {1: server.bootstrap}
    assert known.controller_id == 1
    assert list(client.list_topics("orders", timeout=30).topics) == ["orders"]
    described = client.describe_cluster(request_timeout=30).result()
    assert described.controller.id == 1


def test_kafka_python(server):
    client = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    try:
        described = client.describe_cluster()
        assert [(each["broker_id"], each["port"]) for each in described["brokers"]] == [(1, server.kafka_port)]
        assert client.list_topics() == []
    finally:
        client.close()


def test_aiokafka(server):
    async def connect_and_ask():
        producer = AIOKafkaProducer(bootstrap_servers=server.bootstrap)
        await producer.start()
        try:
            return await producer.partitions_for("orders")
        finally:
            await producer.stop()

    assert asyncio.run(connect_and_ask()) == {0}


# --- addresses


def broker_of(client):
    (broker,) = client.ask(DescribeClusterRequest(), 0, DescribeClusterResponse).brokers
    return broker.host, broker.port


def test_clients_are_told_the_address_that_they_have_found(start_server, connect):
    server = start_server()
    assert broker_of(connect(server)) == ("127.0.0.1", server.kafka_port)


def test_also_that_of_ipv6(start_server):
    server = start_server(kafka_host="::1")
    with socket.create_connection(("::1", server.kafka_port), timeout=30) as client:
        client.sendall(bytes.fromhex("0000000e 0003 0001 00000007 ffff 00000000"))
        (size,) = struct.unpack(">i", client.recv(4, socket.MSG_WAITALL))
        reply = MetadataResponse.decode(client.recv(size, socket.MSG_WAITALL), version=1, header=True)
    assert [(each.host, each.port) for each in reply.brokers] == [("::1", server.kafka_port)]


def test_or_the_one_that_is_set(start_server, connect):
    server = start_server(kafka_advertise="broker.example:19092")
    assert broker_of(connect(server)) == ("broker.example", 19092)


def test_a_name_is_all_its_addresses(start_server, connect):
    server = start_server(kafka_host="localhost")
    assert server.call(lambda service: service.kafka.endpoints)[0].endswith(f":{server.kafka_port}")
    assert broker_of(connect(server)) == ("127.0.0.1", server.kafka_port)


def test_the_greeting_and_the_log_name_the_endpoint():
    with ServerProcess(kafka=True) as server:
        assert server.greeting[0].endswith(f"127.0.0.1:{server.port}; Kafka's clients: 127.0.0.1:{server.kafka_port}")
        wait_until(lambda: f"kafka=['127.0.0.1:{server.kafka_port}']" in server.log, "the log names it, too")
        with Client(server.host, server.port) as client:
            client.publish(b"one")
            assert client.consume() == [b"one"]


def test_also_as_json(tmp_path):
    with ServerProcess("--log-json", kafka=True) as server:
        assert server.greeting == []
        assert server.kafka_port not in {0, server.port}
        client = AdminClient({"bootstrap.servers": server.bootstrap})
        assert list(client.list_topics(timeout=30).brokers) == [1]


# --- when it cannot start


def test_a_port_that_is_taken_is_named_by_its_option():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--port", "0", "--kafka", "--kafka-port", port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "choose another port with --kafka-port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_other_machines_can_connect_only_if_that_is_wanted(more):
    done = run("serve", "--port", "0", "--kafka", "--kafka-port", "0", "--kafka-host", "0.0.0.0", *more)
    assert done.returncode == 2
    assert "--kafka-host: 0.0.0.0 can be reached from other machines" in done.stderr
    assert "--insecure" in done.stderr


WITHOUT = """
import sys

class NoSuch:
    def find_spec(self, name, path=None, target=None):
        if name == "kafka":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoSuch())
from gstream.__main__ import main
main()
"""


def test_without_the_packages_that_it_needs_it_says_so():
    command = [sys.executable, "-c", WITHOUT, "serve", "--port", "0", "--kafka"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "pip install 'gstream[kafka]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_they_are_imported_only_when_it_is_on():
    program = "import sys; from gstream.testing import ServerThread; ServerThread().stop(); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "'gstream.service'" in done.stdout
    assert "'kafka" not in done.stdout
    assert "'gstream.kafka" not in done.stdout


# --- together with the line protocol's clients


def test_they_count_as_connections(start_server, connect):
    server = start_server(max_connections=2)
    first = connect(server)
    first.ask(DescribeClusterRequest(), 0, DescribeClusterResponse)
    with Session(server) as session:
        session.send(b"i\n")
        assert b"connections 2\n" in b"".join(iter(session.read_line, b".\n"))
        refused = connect(server)
        refused.expect_closed()
    first.socket.close()
    wait_until(lambda: server.call(lambda service: service.connection_count) == 0, "the clients are gone")
    assert broker_of(connect(server))[1] == server.kafka_port


# --- stopping


def parked_fetch(server, client):
    """Have a Fetch wait for messages that do not come."""
    client.ask(MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="orders")]), 4, MetadataResponse)
    partition = FetchRequest.FetchTopic.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    request = FetchRequest(
        replica_id=-1,
        max_wait_ms=60_000,
        min_bytes=1,
        max_bytes=1 << 20,
        isolation_level=0,
        topics=[FetchRequest.FetchTopic(topic="orders", partitions=[partition])],
    )
    client.send_request(request, 4, 9)


def test_what_waits_is_answered_when_the_server_stops(server, connect):
    client = connect(server)
    parked_fetch(server, client)
    wait_until(lambda: server.call(lambda service: service.broker.topics["orders"].watchers), "the fetch waits")
    server.stop()
    reply = FetchResponse.decode(client.read_frame(), version=4, header=True)
    assert [partition.error_code for partition in reply.responses[0].partitions] == [0]
    client.expect_closed()


def test_an_idle_client_is_closed_when_it_stops(server, connect):
    client = connect(server)
    client.ask(DescribeClusterRequest(), 0, DescribeClusterResponse)
    server.stop()
    client.expect_closed()


def test_sigterm_ends_it_with_clients_connected():
    with ServerProcess(kafka=True) as server:
        client = AdminClient({"bootstrap.servers": server.bootstrap})
        client.list_topics(timeout=30)
        assert server.stop(signal.SIGTERM) == 0
        assert "Traceback" not in server.log
        assert "the grace time is over" not in server.log


def test_the_cluster_is_the_same_after_a_restart(tmp_path):
    ids = []
    for _ in range(2):
        with ServerThread(kafka=True, data_dir=os.fspath(tmp_path / "data")) as server:
            ids.append(server.call(lambda service: service.kafka.node.cluster_id))
    assert ids[0] == ids[1]
