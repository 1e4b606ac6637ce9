"""IncrementalAlterConfigs (44), versions 0 to 1: single values of a topic, the others stay.

Answered when it is kept. KIP-339.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse

from gstream.kafka.altering import alter
from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.configs import Type, split_list
from gstream.kafka.resources import repeated
from gstream.kafka.topic_configs import check_values, own_values, server_value
from gstream.kafka.topic_keys import TOPIC_KEYS

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["API", "Operation"]


class Operation(IntEnum):
    """What is done with a value."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


_OPERATIONS = frozenset(Operation)


def handle(node: Node, request: Any, context: Context) -> Any:  # noqa: ARG001
    """Set what is named, of each topic."""
    rows = alter(node, request.resources, _wanted, validate_only=request.validate_only)
    response = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse
    return IncrementalAlterConfigsResponse(throttle_time_ms=0, responses=[response(**row) for row in rows])


def _wanted(node: Node, topic: Topic, resource: Any) -> dict[str, str]:
    twice = repeated(config.name for config in resource.configs)
    if twice:
        raise KafkaError(Code.INVALID_REQUEST, f"Error due to duplicate config keys: {', '.join(map(str, twice))}")
    wanted: dict[str, str | None] = dict(own_values(node, topic))
    for config in resource.configs:
        name, value = config.name, config.value
        if config.config_operation not in _OPERATIONS:
            raise KafkaError(Code.INVALID_REQUEST, f"Unknown operation for {name}: {config.config_operation}")
        if config.config_operation == Operation.DELETE:
            check_values(node.config, {name: server_value(node.config, name) if name in TOPIC_KEYS else ""})
            wanted.pop(name, None)
        elif value is None:
            raise KafkaError(Code.INVALID_REQUEST, f"Null value not supported for : {name}")
        elif config.config_operation == Operation.SET:
            wanted[name] = value
        else:
            before = wanted.get(name) or (server_value(node.config, name) if name in TOPIC_KEYS else "")
            wanted[name] = _changed(name, before, config.config_operation, value)
    return check_values(node.config, wanted)


def _changed(name: str, before: str, operation: int, value: str) -> str:
    """A list with, or without, some elements."""
    if name in TOPIC_KEYS and TOPIC_KEYS[name].type is not Type.LIST:
        what = "append to" if operation == Operation.APPEND else "subtract from"
        raise KafkaError(Code.INVALID_CONFIG, f"Can't {what} key {name} because its type is not LIST.")
    elements, changes = split_list(before), split_list(value)
    if operation == Operation.APPEND:
        return ",".join(dict.fromkeys([*elements, *changes]))
    return ",".join(each for each in elements if each not in changes)


API = Api(
    44,
    "IncrementalAlterConfigs",
    range(2),
    handle,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
