"""DescribeConfigs (32), versions 0 to 4: the configuration of topics and of the server.

The logger of the server has nothing to set. KIP-133, KIP-226 (from version 1: where a value comes from), KIP-569 (from
version 3: types and documentation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import DescribeConfigsRequest, DescribeConfigsResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.broker_configs import describe_broker
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.configs import Entry, ResourceType, Source
from gstream.kafka.resources import check_broker, find_topic
from gstream.kafka.rows import encode_rows
from gstream.kafka.topic_configs import describe_topic, own_values

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

Result = DescribeConfigsResponse.DescribeConfigsResult
Row = Result.DescribeConfigsResourceResult
SynonymRow = Row.DescribeConfigsSynonym


def handle(node: Node, request: Any, context: Context) -> Any:
    """Show what is asked for, of each resource."""
    # Each is shown once, however often it is named: it takes a thousand times as much as its name.
    asked = {_identify(resource): resource for resource in request.resources}
    results = (_show(node, resource, request, context) for resource in asked.values())
    return encode_rows(DescribeConfigsResponse, context.version, "results", results, throttle_time_ms=0)


def _show(node: Node, resource: Any, request: Any, context: Context) -> Any:
    """The row of one resource."""
    code, message, rows = Code.NONE, None, []
    try:
        entries = _describe(node, resource, context)
    except KafkaError as error:
        code, message = error.code, str(error)
    else:
        rows = [
            _row(entry, synonyms=request.include_synonyms, documentation=request.include_documentation)
            for entry in entries
            if not resource.configuration_keys or entry.name in resource.configuration_keys
        ]
    return Result(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        configs=rows,
    )


def _identify(resource: Any) -> tuple[int, str, tuple[str, ...]]:
    """What is asked for: a resource, and some of its keys."""
    return resource.resource_type, resource.resource_name, tuple(resource.configuration_keys or ())


def _describe(node: Node, resource: Any, context: Context) -> list[Entry]:
    match resource.resource_type:
        case ResourceType.TOPIC:
            return describe_topic(node.config, own_values(node, find_topic(node, resource.resource_name)))
        case ResourceType.BROKER:
            if not resource.resource_name:
                return []  # the defaults of all brokers: what the server's options say is its own
            check_broker(node, resource.resource_name)
            return describe_broker(node, context)
        case ResourceType.BROKER_LOGGER:
            check_broker(node, resource.resource_name)
            return []
    raise KafkaError(Code.INVALID_REQUEST, f"Unsupported resource type: {resource.resource_type}")


def _row(entry: Entry, *, synonyms: bool, documentation: bool) -> Any:
    return Row(
        name=entry.name,
        value=entry.value,
        read_only=entry.is_read_only,
        is_default=entry.source is Source.DEFAULT,
        config_source=entry.source,
        is_sensitive=False,
        synonyms=[SynonymRow(name=name, value=value, source=source) for name, value, source in entry.synonyms]
        if synonyms
        else [],
        config_type=entry.type,
        documentation=entry.documentation if documentation else None,
    )


API = Api(32, "DescribeConfigs", range(5), handle, DescribeConfigsRequest, DescribeConfigsResponse, gives_much=True)
