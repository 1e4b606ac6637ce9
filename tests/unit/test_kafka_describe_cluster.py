"""DescribeCluster: one broker, which is its own controller."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kafka.protocol.admin import DescribeClusterRequest, DescribeClusterResponse

from gstream.kafka.api import Context
from gstream.kafka.codes import Code
from gstream.kafka.describe_cluster import API
from gstream.kafka.operations import CLUSTER_OPERATIONS

NODE = SimpleNamespace(
    node_id=1, controller_id=1, cluster_id="iF2ZbYfJQpGQh0jvLk2a3w", advertised=lambda _context: ("::1", 9092)
)


def ask(version, **fields):
    request = DescribeClusterRequest.decode(DescribeClusterRequest(**fields).encode(version=version), version=version)
    reply = API.handle(NODE, request, Context(version))
    return DescribeClusterResponse.decode(reply.encode(version=version), version=version)


@pytest.mark.parametrize("version", API.versions)
def test_the_broker_is_told_of(version):
    reply = ask(version)
    assert (reply.error_code, reply.cluster_id, reply.controller_id) == (0, NODE.cluster_id, 1)
    assert [(each.broker_id, each.host, each.port, each.rack) for each in reply.brokers] == [(1, "::1", 9092, None)]


@pytest.mark.parametrize("version", API.versions)
def test_what_a_client_may_do_is_told_if_it_asks(version):
    assert ask(version, include_cluster_authorized_operations=True).authorized_operations == CLUSTER_OPERATIONS
    assert ask(version).authorized_operations != CLUSTER_OPERATIONS


@pytest.mark.parametrize(("kind", "code"), [(2, Code.MISMATCHED_ENDPOINT_TYPE), (3, Code.UNSUPPORTED_ENDPOINT_TYPE)])
def test_controllers_are_not(kind, code):
    reply = ask(1, endpoint_type=kind)
    assert (reply.error_code, reply.brokers) == (code, [])
    assert reply.error_message
