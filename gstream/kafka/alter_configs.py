"""AlterConfigs (33), versions 0 to 2: all that is set for a topic, in place of what was set before.

Answered when it is kept. KIP-133; KIP-339 has the form that leaves alone what it does not name, see
incremental_alter_configs.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import AlterConfigsRequest, AlterConfigsResponse

from gstream.kafka.altering import alter
from gstream.kafka.api import Api, Context
from gstream.kafka.topic_configs import check_values

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["API"]


def handle(node: Node, request: Any, context: Context) -> Any:  # noqa: ARG001
    """Set what each topic is to have."""
    rows = alter(node, request.resources, _wanted, validate_only=request.validate_only)
    response = AlterConfigsResponse.AlterConfigsResourceResponse
    return AlterConfigsResponse(throttle_time_ms=0, responses=[response(**row) for row in rows])


def _wanted(node: Node, topic: Topic, resource: Any) -> dict[str, str]:  # noqa: ARG001
    values = {config.name: config.value for config in resource.configs}  # Kafka takes the last of a name, too
    return check_values(node.config, values)


API = Api(33, "AlterConfigs", range(3), handle, AlterConfigsRequest, AlterConfigsResponse)
