"""DeleteTopics (20), versions 1 to 6: topics, with all that is in them.

Answered when nothing of them is left. A topic that consumers of the line protocol use right now is not removed, as the
line protocol does not: POLICY_VIOLATION, and a message that says so. KIP-4, KIP-599 (from version 5: messages),
KIP-516 (from version 6: by id).
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import DeleteTopicsRequest, DeleteTopicsResponse

from gstream.commit import Commit
from gstream.errors import BusyError
from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.resources import check_once, find_topic, repeated, wait_until_kept
from gstream.kafka.rows import in_turns

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["API"]

Row = DeleteTopicsResponse.DeletableTopicResult

NO_ID = uuid.UUID(int=0)
STATES_FROM = 6
"""The version of the request that names topics by name or id."""


def handle(node: Node, request: Any, context: Context) -> Any:
    """Remove what can be removed, and say of each topic what became of it. Blocks this greenlet."""
    asked: list[tuple[str | None, uuid.UUID]]
    if context.version >= STATES_FROM:
        asked = [(state.name, state.topic_id or NO_ID) for state in request.topics]
    else:
        asked = [(name, NO_ID) for name in request.topic_names]
    twice = repeated(asked)
    removals: list[tuple[Any, Commit | None]] = []
    for name, topic_id in in_turns(dict.fromkeys(asked)):
        row = Row(name=name, topic_id=topic_id, error_code=Code.NONE, error_message=None)
        gone = None
        try:
            check_once((name, topic_id), twice)
            topic = _find(node, name, topic_id)
            row.name, row.topic_id = topic.name, node.topic_id(topic)
            gone = _remove(node, topic)
        except KafkaError as error:
            _fail(row, error)
        removals.append((row, gone))
    for row, gone in removals:
        failed = wait_until_kept(gone)
        if failed is not None:
            _fail(row, failed)
    return DeleteTopicsResponse(throttle_time_ms=0, responses=[row for row, _ in removals])


def _find(node: Node, name: str | None, topic_id: uuid.UUID) -> Topic:
    """The topic that is meant. Raises KafkaError."""
    if name is not None:
        if topic_id != NO_ID:
            raise KafkaError(Code.INVALID_REQUEST, "You may not specify both topic name and topic id.")
        return find_topic(node, name)
    if topic_id == NO_ID:
        raise KafkaError(Code.INVALID_REQUEST, "Neither topic name nor id were specified.")
    topic = node.find_by_id(topic_id)
    if topic is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_ID, f"no topic has the id {topic_id}")
    return topic


def _remove(node: Node, topic: Topic) -> Commit | None:
    """When nothing of it is left. Raises KafkaError."""
    try:
        return node.broker.remove(topic.name)
    except BusyError:
        raise KafkaError(
            Code.POLICY_VIOLATION, "the topic has consumers (of the line protocol); they have to be gone first"
        ) from None


def _fail(row: Any, error: KafkaError) -> None:
    row.error_code, row.error_message = error.code, str(error)


API = Api(20, "DeleteTopics", range(1, 7), handle, DeleteTopicsRequest, DeleteTopicsResponse)
