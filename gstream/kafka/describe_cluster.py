"""DescribeCluster (60), versions 0 and 1: the cluster's id and its brokers, for administrators (KIP-700).

Version 1 can ask for the controllers instead of the brokers, which is answered only by controllers (KIP-919).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka.protocol.admin import DescribeClusterRequest, DescribeClusterResponse

from gstream.kafka.api import Api, Context, Reply
from gstream.kafka.codes import Code
from gstream.kafka.operations import CLUSTER_OPERATIONS

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

BROKERS, CONTROLLERS = 1, 2
ENDPOINTS_FROM = 1

Broker = DescribeClusterResponse.DescribeClusterBroker


def handle(node: Node, request: DescribeClusterRequest, context: Context) -> Reply:
    """Tell of the one broker."""
    kind = request.endpoint_type if context.version >= ENDPOINTS_FROM else BROKERS
    if kind != BROKERS:
        known = kind == CONTROLLERS
        return DescribeClusterResponse(
            error_code=Code.MISMATCHED_ENDPOINT_TYPE if known else Code.UNSUPPORTED_ENDPOINT_TYPE,
            error_message="this is a broker" if known else f"there are no endpoints of type {kind}",
            endpoint_type=kind,
            cluster_id=node.cluster_id,
            controller_id=node.controller_id,
            brokers=[],
        )
    host, port = node.advertised(context)
    reply = DescribeClusterResponse(
        throttle_time_ms=0,
        error_code=Code.NONE,
        error_message=None,
        endpoint_type=BROKERS,
        cluster_id=node.cluster_id,
        controller_id=node.controller_id,
        brokers=[Broker(broker_id=node.node_id, host=host, port=port, rack=None)],
    )
    if request.include_cluster_authorized_operations:
        reply.authorized_operations = set(CLUSTER_OPERATIONS)
    return reply


API = Api(60, "DescribeCluster", range(2), handle, DescribeClusterRequest, DescribeClusterResponse)
