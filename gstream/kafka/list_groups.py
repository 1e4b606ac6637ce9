"""ListGroups (16), versions 0 to 5: all groups, those of Kafka's clients and those of the line protocol.

Only those in some states from version 4 on (KIP-518), only those of some types from version 5 on (KIP-848): all are
"classic".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import ListGroupsRequest, ListGroupsResponse

from gstream.kafka import line_groups
from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.group import State

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

TYPE = "classic"


def handle(node: Node, request: Any, context: Context) -> ListGroupsResponse:  # noqa: ARG001
    """List them."""
    try:
        node.groups.check()
    except KafkaError as error:
        return ListGroupsResponse(throttle_time_ms=0, error_code=error.code, groups=[])
    states = {state.lower() for state in request.states_filter or ()}
    types = {type.lower() for type in request.types_filter or ()}
    kind = ListGroupsResponse.ListedGroup
    rows = [
        kind(group_id=name, protocol_type=protocol_type, group_state=state, group_type=TYPE)
        for name, protocol_type, state in _all(node)
        if (not states or state.lower() in states) and (not types or TYPE in types)
    ]
    return ListGroupsResponse(throttle_time_ms=0, error_code=Code.NONE, groups=rows)


def _all(node: Node) -> Iterator[tuple[str, str, State]]:
    for group in node.groups:
        yield group.name, group.protocol_type or "", group.state
    for line_group in line_groups.all_of(node.broker):
        yield line_group.name, line_groups.PROTOCOL_TYPE, line_group.state


API = Api(
    key=16,
    name="ListGroups",
    versions=range(6),
    handle=handle,
    request=ListGroupsRequest,
    response=ListGroupsResponse,
)
