"""kcat, as people use it in a shell: one line of its options each."""

from __future__ import annotations

import json
import time

import pytest

from gstream.testing import ServerThread
from tests.integration.kafka.clients import kcat


def produce(server: ServerThread, data: bytes, *options: str, topic: str = "jobs") -> None:
    kcat(server.bootstrap, "-P", "-t", topic, "-p", "0", *options, data=data)


def consume(server: ServerThread, *options: str, topic: str = "jobs") -> list[bytes]:
    """What it prints of a topic, up to its end."""
    return kcat(server.bootstrap, "-C", "-t", topic, "-e", "-q", *options).splitlines()


@pytest.mark.parametrize(
    ("offset", "lines"),
    [
        ("beginning", [b"one", b"two", b"three"]),
        ("1", [b"two", b"three"]),
        ("-1", [b"three"]),
        ("end", []),
        ("s@1", [b"one", b"two", b"three"]),
    ],
)
def test_from_any_place(server: ServerThread, offset: str, lines: list[bytes]) -> None:
    produce(server, b"one\ntwo\nthree\n")
    assert consume(server, "-p", "0", "-o", offset) == lines


def test_what_was_produced_since(server: ServerThread) -> None:
    produce(server, b"one\n")
    assert consume(server, "-p", "0", "-o", f"s@{int(time.time() * 1000) + 3_600_000}") == []


def test_a_format_of_ones_own(server: ServerThread) -> None:
    produce(server, b"customer 7:order\ncustomer 8:\n", "-K:", "-Z", "-H", "a=1", "-H", "b=2")
    assert consume(server, "-f", r"%p %o %k=%s %S %h\n") == [
        b"0 0 customer 7=order 5 a=1,b=2",
        b"0 1 customer 8= -1 a=1,b=2",
    ]


def test_as_json(server: ServerThread) -> None:
    produce(server, b"order\n")
    (row,) = map(json.loads, consume(server, "-J"))
    assert (row["topic"], row["partition"], row["offset"], row["key"], row["payload"]) == ("jobs", 0, 0, None, "order")
    assert abs(row["ts"] / 1000 - time.time()) < 60


def test_everything_there_is(server: ServerThread) -> None:
    produce(server, b"one\n")
    produce(server, b"one\n", topic="mails")
    found = json.loads(kcat(server.bootstrap, "-L", "-J"))
    assert [topic["topic"] for topic in found["topics"]] == ["jobs", "mails"]
    assert found["brokers"] == [{"id": 1, "name": server.bootstrap}]
    assert found["controllerid"] == 1


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_acks(server: ServerThread, acks: str) -> None:
    produce(server, b"one\n", "-X", f"acks={acks}")
    assert consume(server) == [b"one"]


def test_in_a_transaction(server: ServerThread) -> None:
    produce(server, b"one\ntwo\n", "-X", "transactional.id=shell")
    assert consume(server, "-X", "isolation.level=read_committed") == [b"one", b"two"]


def test_a_group_goes_on_where_it_was(server: ServerThread) -> None:
    group = ("-G", "workers", "-e", "-q", "-X", "auto.offset.reset=earliest", "jobs")
    produce(server, b"one\ntwo\n")
    assert kcat(server.bootstrap, *group).splitlines() == [b"one", b"two"]
    produce(server, b"three\n")
    assert kcat(server.bootstrap, *group).splitlines() == [b"three"]
