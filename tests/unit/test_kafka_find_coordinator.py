"""FindCoordinator: it is always this broker."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kafka.protocol.metadata import FindCoordinatorRequest, FindCoordinatorResponse

from gstream.kafka.api import Context
from gstream.kafka.codes import Code
from gstream.kafka.find_coordinator import API

NODE = SimpleNamespace(node_id=1, advertised=lambda _context: ("broker.example", 9092))


def ask(version, **fields):
    request = FindCoordinatorRequest.decode(FindCoordinatorRequest(**fields).encode(version=version), version=version)
    reply = API.handle(NODE, request, Context(version))
    return FindCoordinatorResponse.decode(reply.encode(version=version), version=version)


@pytest.mark.parametrize("version", range(4))
def test_groups_are_looked_after_here(version):
    reply = ask(version, key="workers")
    assert (reply.error_code, reply.node_id, reply.host, reply.port) == (0, 1, "broker.example", 9092)


@pytest.mark.parametrize("version", range(1, 4))
def test_and_transactions(version):
    reply = ask(version, key="payments", key_type=1)
    assert (reply.error_code, reply.error_message, reply.node_id) == (0, None, 1)


def test_several_at_once():
    reply = ask(4, key_type=0, coordinator_keys=["a", "b"])
    assert [(each.key, each.error_code, each.node_id, each.host, each.port) for each in reply.coordinators] == [
        ("a", 0, 1, "broker.example", 9092),
        ("b", 0, 1, "broker.example", 9092),
    ]


@pytest.mark.parametrize("version", range(1, 4))
def test_nothing_else_is(version):
    reply = ask(version, key="x", key_type=2)
    assert (reply.error_code, reply.node_id, reply.port) == (Code.INVALID_REQUEST, -1, -1)
    assert reply.error_message == "there are no coordinators of kind 2"


def test_nothing_else_is_of_several():
    (each,) = ask(4, key_type=2, coordinator_keys=["x"]).coordinators
    assert (each.key, each.error_code, each.node_id) == ("x", Code.INVALID_REQUEST, -1)
