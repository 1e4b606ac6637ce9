"""FindCoordinator (10), versions 0 to 4: which broker looks after a group, or a transactional id.

It is the only one that there is. Version 4 asks for several at once (KIP-699).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka.protocol.metadata import FindCoordinatorRequest, FindCoordinatorResponse

from gstream.kafka.api import Api, Context, Reply
from gstream.kafka.codes import Code

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

GROUP, TRANSACTION = 0, 1
KINDS_FROM = 1
SEVERAL_FROM = 4
NOBODY = -1

Coordinator = FindCoordinatorResponse.Coordinator


def handle(node: Node, request: FindCoordinatorRequest, context: Context) -> Reply:
    """Name this broker, whatever is asked for."""
    node_id: int = node.node_id
    host, port = node.advertised(context)
    code, message = Code.NONE, None
    if context.version >= KINDS_FROM and request.key_type not in (GROUP, TRANSACTION):
        code, message = Code.INVALID_REQUEST, f"there are no coordinators of kind {request.key_type}"
        node_id, host, port = NOBODY, "", NOBODY
    if context.version < SEVERAL_FROM:
        return FindCoordinatorResponse(
            throttle_time_ms=0, error_code=code, error_message=message, node_id=node_id, host=host, port=port
        )
    coordinators = [
        Coordinator(key=key, node_id=node_id, host=host, port=port, error_code=code, error_message=message)
        for key in request.coordinator_keys
    ]
    return FindCoordinatorResponse(throttle_time_ms=0, coordinators=coordinators)


API = Api(10, "FindCoordinator", range(5), handle, FindCoordinatorRequest, FindCoordinatorResponse)
