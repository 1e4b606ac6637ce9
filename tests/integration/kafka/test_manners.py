"""Bad input costs nothing: what is no request, halves of requests, clients that do not read, and mutated requests."""

from __future__ import annotations

import logging
import random
import re
import socket
import ssl
import struct
import uuid
from contextlib import suppress

import pytest
from kafka.protocol.admin import DescribeClusterRequest, DescribeClusterResponse
from kafka.protocol.consumer import FetchRequest
from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse

from gstream.kafka import connection as connection_module
from gstream.kafka import server as server_module
from gstream.kafka import session as session_module
from gstream.kafka.table import TABLE
from gstream.testing import ServerProcess, wait_until

MUTATED_REQUESTS = 20_000
"""Raise it to a million before a release: that takes some minutes."""

HEADER_BYTES = 14
"""Of the samples: mostly it is what follows that is changed."""

BURST = 4
"""So many go through one connection, about: the first that is no request ends it."""

TRACEBACK = "Traceback (most recent call last)"


def assert_serves(client):
    assert client.ask(DescribeClusterRequest(), 0, DescribeClusterResponse).error_code == 0


@pytest.fixture
def logged(caplog):
    """What the server says from warnings on, so far."""
    caplog.set_level(logging.WARNING, "gstream")
    return lambda: [record.getMessage() for record in caplog.records]


# --- what is no request


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST /topics HTTP/1.1\r\n\r\n{}"])
def test_http_is_told_what_this_port_is(start_server, connect, logged, data):
    client = connect(start_server())
    client.send(data)
    answer = client.read_all()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"This is gstream's port for Kafka's clients" in answer
    assert logged() == ["connection closed: the client speaks HTTP"]


def test_tls_is_closed(start_server, logged):
    server = start_server()
    context = ssl.create_default_context()
    with socket.create_connection((server.host, server.kafka_port), timeout=30) as plain, pytest.raises(OSError):  # noqa: PT011
        context.wrap_socket(plain, server_hostname="localhost")
    wait_until(logged, "the server has seen it")
    assert logged() == ["connection closed: the client speaks TLS"]


@pytest.mark.parametrize(
    "data", [b"pHello\n", b"\x00\x00\x00\x07" + bytes(7), b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]
)
def test_what_has_no_possible_length_is_closed(start_server, connect, logged, data):
    server = start_server()
    client = connect(server)
    client.send(data + b"\0\0\0\0")
    client.expect_closed()
    (line,) = logged()
    assert line.startswith("connection closed: a request of ")
    assert_serves(connect(server))


HUGE = [
    (3, 9, b"\0\xff\xff\xff\xff\x0f"),
    (3, 4, b"\x7f\xff\xff\xff"),
    (3, 4, b"\x80\0\0\0"),
    (1, 12, b"\xff\xff\xff\xff" + bytes(13) + b"\xff\xff\xff\xff\x0f"),
    (0, 9, b"\0\0\xff\xff\0\0\x75\x30\xff\xff\xff\xff\x0f"),
    (0, 8, b"\xff\xff\xff\xff\0\0\x75\x30\x7f\xff\xff\xff"),
    (19, 7, b"\0\xff\xff\xff\xff\x0f"),
    (11, 9, b"\0\xff\xff\xff\xff\x0f"),
    (18, 3, b"\0\xff\xff\xff\xff\x0f"),
    (18, 3, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
]


@pytest.mark.parametrize(("key", "version", "body"), HUGE)
def test_huge_lengths_cost_nothing(start_server, connect, logged, key, version, body):
    server = start_server()
    client = connect(server)
    client.send_frame(struct.pack(">hhih", key, version, 1, -1) + body)
    client.expect_closed()
    (line,) = logged()
    assert line.startswith(
        f"connection closed: a request that cannot be read, to {TABLE[key].name} (version {version})"
    )
    assert_serves(connect(server))


def test_a_client_that_cannot_be_understood_is_named(start_server, connect, caplog):
    client = connect(start_server())
    request = ApiVersionsRequest(client_software_name="franz-go", client_software_version="1.2")
    client.ask(request, 3, ApiVersionsResponse)
    client.send_frame(struct.pack(">hhih", 3, 9, 1, -1))
    client.expect_closed()
    assert [record.software for record in caplog.records] == ["franz-go 1.2"]


@pytest.mark.parametrize(("key", "version"), [(999, 0), (3, 99), (17, 0), (68, 1), (-1, 0)])
def test_what_is_not_served_is_closed(start_server, connect, logged, key, version):
    server = start_server()
    client = connect(server)
    client.send_frame(struct.pack(">hhih", key, version, 1, -1) + b"\0")
    client.expect_closed()
    assert "serve" in logged()[0]
    assert_serves(connect(server))


def test_requests_before_it_are_answered(start_server, connect):
    client = connect(start_server())
    for number in range(3):
        client.send_request(DescribeClusterRequest(), 0, number)
    client.send(b"\xff" * 8)
    assert [struct.unpack_from(">i", client.read_frame()) for _ in range(3)] == [(0,), (1,), (2,)]
    client.expect_closed()


# --- pipelines, and what comes in pieces


def test_a_pipeline_is_answered_in_its_order(server, connect):
    client = connect(server)
    request = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="orders")])
    client.ask(request, 9, MetadataResponse)
    for number in range(2000):
        client.send_request(request, 9, number)
    for number in range(2000):
        assert struct.unpack_from(">i", client.read_frame()) == (number,)


def test_a_request_may_come_byte_by_byte(start_server, connect):
    client = connect(start_server())
    request = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="orders")])
    request.API_VERSION = 9
    request.with_header(correlation_id=3, client_id="slow")
    for byte in request.encode(header=True, framed=True):
        client.send(bytes((byte,)))
    assert struct.unpack_from(">i", client.read_frame()) == (3,)


def test_a_large_request_in_pieces_beside_small_ones(start_server, connect):
    client = connect(start_server())
    names = [f"topic-{number:05}" for number in range(8000)]
    request = MetadataRequest(
        topics=[MetadataRequest.MetadataRequestTopic(name=name) for name in names], allow_auto_topic_creation=False
    )
    for number in (1, 3):
        client.send_request(DescribeClusterRequest(), 0, number - 1)
        client.send_request(request, 8, number)
    for number in range(4):
        frame = client.read_frame()
        assert struct.unpack_from(">i", frame) == (number,)
    assert [topic.name for topic in MetadataResponse.decode(frame, version=8, header=True).topics] == names


# --- those who do not go on


def test_half_a_request_is_waited_for_so_long(start_server, connect, logged, monkeypatch):
    monkeypatch.setattr(session_module, "HALF_SENT_SECONDS", 0.05)
    monkeypatch.setattr(session_module, "SLOWEST_BYTES", 1 << 30)
    server = start_server()
    for size in (20, 1 << 20):
        client = connect(server)
        client.send(struct.pack(">ih", size, 3) + b"half")
        client.expect_closed()
    assert logged() == ["connection closed: it has sent a part of a request, and no more"] * 2
    assert_serves(connect(server))


def test_an_idle_client_is_not_closed(start_server, connect, monkeypatch):
    monkeypatch.setattr(session_module, "HALF_SENT_SECONDS", 0.05)
    server = start_server()
    idle, late = connect(server), connect(server)
    assert_serves(idle)
    late.send(b"\0")
    late.expect_closed()
    assert_serves(idle)


def flood(client):
    """Ask for much more than is read, until nobody takes it any more."""
    request = MetadataRequest(topics=None)
    request.API_VERSION = 9
    request.with_header(correlation_id=1, client_id="flood")
    data = memoryview(request.encode(header=True, framed=True) * 1_000_000)
    client.socket.setblocking(False)
    with suppress(BlockingIOError):
        while data:
            data = data[client.socket.send(data) :]
    assert data


def make_wide(client):
    """A topic with so many partitions that a reply is long."""
    client.ask(MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="wide")]), 9, MetadataResponse)


def test_who_does_not_read_is_not_read_from(start_server, connect):
    server = start_server(kafka_partitions=1000, max_topics=10_000)
    helper = connect(server)
    make_wide(helper)
    flood(connect(server, receive_bytes=4096))
    wait_until(lambda: server.call(full), "its queue is full")
    (queued,) = server.call(queues)
    assert queued < connection_module.QUEUE_BYTES + (1 << 16)
    assert_serves(helper)


def full(service):
    """Whether somebody is waited for."""
    return any(session._connection._awaited for session in service._sessions.sessions)


def queues(service):
    """How much each connection has to write, of those that have something."""
    sizes = [session._connection._out_bytes for session in service._sessions.sessions]
    return [size for size in sizes if size]


def test_and_closed_after_a_time(start_server, connect, logged, monkeypatch):
    monkeypatch.setattr(connection_module, "UNREAD_SECONDS", 0.1)
    server = start_server(kafka_partitions=1000, max_topics=10_000)
    helper = connect(server)
    make_wide(helper)
    flood(connect(server, receive_bytes=4096))
    wait_until(lambda: server.call(lambda service: service.connection_count) == 1, "the other one is closed")
    assert logged() == ["connection closed: the client does not read its replies"]
    assert_serves(helper)


def test_room_for_large_requests_is_bounded(start_server, connect, monkeypatch):
    monkeypatch.setattr(server_module, "ROOM_BYTES", 3 << 20)
    server = start_server()
    halves = [connect(server) for _ in range(5)]
    for client in halves:
        client.send(struct.pack(">ih", 1 << 20, 3) + bytes(10_000))
    wait_until(lambda: server.call(room)[1] == 2, "two wait")
    assert server.call(room)[0] == 3 << 20
    assert_serves(connect(server))
    for client in halves[:3]:
        client.socket.close()
    wait_until(lambda: server.call(room) == (2 << 20, 0), "the others have their turn")
    for client in halves[3:]:
        client.socket.close()
    wait_until(lambda: server.call(room) == (0, 0), "nothing is left")


def room(service):
    found = next(each._room for each in service._servers if hasattr(each, "_room"))
    return found.used_bytes, len(found._waiting)


def test_a_client_that_is_gone_costs_nothing(server, connect):
    client = connect(server)
    client.ask(MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="orders")]), 4, MetadataResponse)
    partition = FetchRequest.FetchTopic.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    request = FetchRequest(
        replica_id=-1,
        max_wait_ms=600_000,
        min_bytes=1,
        max_bytes=1 << 20,
        isolation_level=0,
        topics=[FetchRequest.FetchTopic(topic="orders", partitions=[partition])],
    )
    client.send_request(request, 4, 9)
    wait_until(lambda: server.call(lambda service: service.broker.topics["orders"].watchers), "the fetch waits")
    client.socket.close()
    wait_until(lambda: server.call(lambda service: service.connection_count) == 0, "the connection is gone")
    assert not server.call(lambda service: service.broker.topics["orders"].watchers)


# --- mutated requests


def samples():
    """A request of every API in every version, as a client would send it."""
    for api in TABLE.values():
        for version in api.versions:
            yield example_of(api.request, version)


def example_of(kind, version):
    request = kind(**fill(kind, kind.json["fields"], version, 0))
    request.API_VERSION = version
    request.with_header(correlation_id=version, client_id="fuzz")
    return request.encode(header=True, framed=True)


def attribute(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def fill(owner, fields, version, depth):
    """Something for each field that this version has."""
    values = {}
    for each in fields:
        first, _, last = each["versions"].partition("-")
        if each["versions"] == "none" or not int(first.rstrip("+")) <= version <= int(last or 99):
            continue
        kind = each["type"]
        if kind.startswith("[]"):
            item = getattr(owner, kind[2:], None)
            inner = each.get("fields")
            values[attribute(each["name"])] = (
                [item(**fill(item, inner, version, depth + 1)) for _ in range(2)] if inner else [simple(kind[2:])]
            )
        elif kind in SIMPLE:
            values[attribute(each["name"])] = simple(kind)
        elif each.get("fields"):
            item = getattr(owner, kind)
            values[attribute(each["name"])] = item(**fill(item, each["fields"], version, depth + 1))
    return values


SIMPLE = {"string": "name", "bytes": b"bytes", "records": b"records", "bool": True, "float64": 1.0}
SIMPLE |= {"uuid": uuid.UUID(int=1)}
SIMPLE |= dict.fromkeys(("int8", "int16", "int32", "int64", "uint16", "uint32"), 1)


def simple(kind):
    return SIMPLE[kind]


def mutate(data, chance):
    """The request with some bytes changed, dropped or doubled; mostly its length is right."""
    body = bytearray(data[4:])
    begin = 0 if chance.random() < 0.1 else HEADER_BYTES
    for _ in range(chance.choice((0, 1, 1, 1, 2, 5, 20))):
        at = chance.randrange(begin, max(len(body), begin + 1))
        match chance.randrange(6):
            case 0 if at < len(body):
                body[at] = chance.randrange(256)
            case 1 if at < len(body):
                body[at] ^= 1 << chance.randrange(8)
            case 2:
                del body[at : at + chance.randrange(1, 5)]
            case 3:
                body[at:at] = chance.randbytes(chance.randrange(1, 5))
            case 4:
                body[at:at] = chance.choice((b"\xff\xff\xff\xff\x0f", b"\x7f\xff\xff\xff", b"\xff\xff", b"\0\0\0\0"))
            case _:
                body[at:at] = body[at : at + chance.randrange(1, 40)]
    size = len(body) if chance.random() < 0.98 else chance.getrandbits(32) - (1 << 31)
    return struct.pack(">i", size) + body


SEED = 20261130


def test_mutated_requests_are_answered_or_refused_and_nothing_else():
    chance = random.Random(SEED)
    kept = list(samples())
    with ServerProcess("--max-topics", "1000", "--max-groups", "1000", kafka=True) as server:
        for done in range(MUTATED_REQUESTS // BURST):
            burst = b"".join(mutate(chance.choice(kept), chance) for _ in range(chance.randrange(1, 2 * BURST)))
            address = server.host, server.kafka_port
            with suppress(ConnectionError), socket.create_connection(address, timeout=30) as client:
                client.sendall(burst)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 16):
                    pass
            if done == MUTATED_REQUESTS // BURST // 4:
                rss_bytes = server.rss_bytes
        assert server.process.poll() is None
        assert TRACEBACK not in server.log
        assert server.rss_bytes < rss_bytes + (32 << 20)
