"""Altering the configurations of topics: what both forms of it do with the resources that are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gstream.commit import Commit, together
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.resources import check_can_alter, check_once, repeated, wait_until_kept
from gstream.kafka.rows import in_turns
from gstream.kafka.topic_configs import set_values

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["alter"]


def alter(
    node: Node,
    resources: Iterable[Any],
    wanted: Callable[[Node, Topic, Any], dict[str, str]],
    *,
    validate_only: bool,
) -> list[dict[str, Any]]:
    """Have each topic configured as ``wanted`` says, and return when that is kept. Blocks this greenlet.

    wanted: all that is to be set for a topic, by what the request says of it; raises KafkaError.

    Returns the fields of a row of the reply for each resource.
    """
    resources = list(resources)
    twice = repeated((resource.resource_type, resource.resource_name) for resource in resources)
    errors: list[KafkaError | None] = []
    commits: list[Commit | None] = []
    for resource in in_turns(resources):
        error = None
        try:
            check_once((resource.resource_type, resource.resource_name), twice)
            topic = check_can_alter(node, resource.resource_type, resource.resource_name)
            values = wanted(node, topic, resource)
            if not validate_only:
                set_values(node, topic, values)
                commits.append(topic.keep())
        except KafkaError as raised:
            error = raised
        errors.append(error)
    failed = wait_until_kept(together(commits))
    return [_row(resource, error or failed) for resource, error in zip(resources, errors, strict=True)]


def _row(resource: Any, error: KafkaError | None) -> dict[str, Any]:
    return {
        "error_code": Code.NONE if error is None else error.code,
        "error_message": None if error is None else str(error),
        "resource_type": resource.resource_type,
        "resource_name": resource.resource_name,
    }
