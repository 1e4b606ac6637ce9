"""DeleteGroups (42), versions 0 to 2: remove groups that have no members, with all they have committed (KIP-229).

Groups of the line protocol, too, in all topics. Answered when that is on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import DeleteGroupsRequest, DeleteGroupsResponse

from gstream.kafka import line_groups
from gstream.kafka.api import Api, Context, Deferred, Reply
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.rows import in_turns

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

MAX_BYTES = 256 * 1024
"""A reply has a row for every few bytes of a request, and takes a while."""


def handle(node: Node, request: Any, context: Context) -> Reply:  # noqa: ARG001
    """Remove each of them that can be."""
    codes = {name: _remove(node, name) for name in in_turns(dict.fromkeys(request.groups_names))}
    commit = None if all(codes.values()) else node.groups.commit()

    def finish() -> DeleteGroupsResponse:
        if commit is not None and commit.error is not None:
            codes.update({name: code or Code.COORDINATOR_NOT_AVAILABLE for name, code in codes.items()})
        kind = DeleteGroupsResponse.DeletableGroupResult
        results = [kind(group_id=name, error_code=code) for name, code in codes.items()]
        return DeleteGroupsResponse(throttle_time_ms=0, results=results)

    return finish() if commit is None else Deferred(commit, finish)


def _remove(node: Node, name: str) -> Code:
    try:
        node.groups.check()
        if node.groups.find(name) is None:
            line_groups.remove(node.broker, name)
        else:
            node.groups.remove(name)
    except KafkaError as error:
        return error.code
    return Code.NONE


API = Api(
    key=42,
    name="DeleteGroups",
    versions=range(3),
    handle=handle,
    request=DeleteGroupsRequest,
    response=DeleteGroupsResponse,
    max_bytes=MAX_BYTES,
)
