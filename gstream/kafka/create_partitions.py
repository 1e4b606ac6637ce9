"""CreatePartitions (37), versions 0 to 3: further partitions for topics; they cannot become fewer.

Answered when they are kept. Messages with a key go to other partitions from then on, as with Kafka. KIP-195.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import CreatePartitionsRequest, CreatePartitionsResponse

from gstream.commit import Commit, together
from gstream.errors import FullError
from gstream.kafka.api import Api, Context
from gstream.kafka.assignments import check_assignments
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.resources import check_once, check_room, find_topic, repeated, wait_until_kept
from gstream.kafka.rows import in_turns
from gstream.protocol.arguments import MAX_PARTITIONS

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["API"]

Row = CreatePartitionsResponse.CreatePartitionsTopicResult

FIRST_ID = 0
"""What clients that have not asked take a single broker for, kafka-python's own tests among them."""


def handle(node: Node, request: Any, context: Context) -> Any:  # noqa: ARG001
    """Add what can be added, and say of each topic what became of it. Blocks this greenlet."""
    twice = repeated(wanted.name for wanted in request.topics)
    rows: list[Any] = []
    added: list[Any] = []
    commits: list[Commit | None] = []
    for wanted in in_turns({wanted.name: wanted for wanted in request.topics}.values()):
        row = Row(name=wanted.name, error_code=Code.NONE, error_message=None)
        rows.append(row)
        try:
            check_once(wanted.name, twice)
            topic = find_topic(node, wanted.name)
            more = _count_more(node, topic, wanted)
            if not request.validate_only:
                _add(topic, more)
                added.append(row)
                commits.append(topic.keep())
        except KafkaError as error:
            _fail(row, error)
    failed = wait_until_kept(together(commits))
    if failed is not None:
        for row in added:
            _fail(row, failed)
    return CreatePartitionsResponse(throttle_time_ms=0, results=rows)


def _count_more(node: Node, topic: Topic, wanted: Any) -> int:
    """How many are to be added. Raises KafkaError."""
    count, present = wanted.count, len(topic.partitions)
    if count == present:
        raise KafkaError(Code.INVALID_PARTITIONS, f"Topic already has {present} partition(s).")
    if count < present:
        raise KafkaError(
            Code.INVALID_PARTITIONS,
            f"The topic {wanted.name} currently has {present} partition(s); {count} would not be an increase.",
        )
    if count > MAX_PARTITIONS:
        raise KafkaError(Code.POLICY_VIOLATION, f"{count} partitions are too many: the limit is {MAX_PARTITIONS}")
    more = count - present
    if wanted.assignments is not None:
        if len(wanted.assignments) != more:
            raise KafkaError(
                Code.INVALID_REPLICA_ASSIGNMENT,
                f"{more} partitions are to be added, and {len(wanted.assignments)} of them are assigned",
            )
        check_assignments({node.node_id, FIRST_ID}, [each.broker_ids for each in wanted.assignments])
    check_room(node, more)
    return int(more)


def _add(topic: Topic, more: int) -> None:
    try:
        topic.add_partitions(more)
    except FullError as error:
        raise KafkaError(Code.POLICY_VIOLATION, str(error)) from None


def _fail(row: Any, error: KafkaError) -> None:
    row.error_code, row.error_message = error.code, str(error)


API = Api(37, "CreatePartitions", range(4), handle, CreatePartitionsRequest, CreatePartitionsResponse)
