"""CreateTopics (19), versions 0 to 7: topics with as many partitions and the configuration that the client says.

Answered when they are kept. Such topics are logs: what groups have taken stays until retention lets it go. KIP-4,
KIP-464 (defaults for partitions and replicas), KIP-525 (from version 5: configuration in the reply), KIP-516 (from
version 7: ids).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import CreateTopicsRequest, CreateTopicsResponse

from gstream.commit import Commit, together
from gstream.kafka.api import Api, Context
from gstream.kafka.assignments import check_assignments
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.resources import check_once, check_room, repeated, wait_until_kept
from gstream.kafka.rows import encode_rows, in_turns
from gstream.kafka.topic_configs import check_values, describe_topic, own_values, set_values
from gstream.kafka.topics import check_name, find
from gstream.protocol.arguments import MAX_PARTITIONS

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["API"]

Row = CreateTopicsResponse.CreatableTopicResult
ConfigRow = Row.CreatableTopicConfigs

DEFAULT = -1
"""Of the number of partitions and of replicas."""


@dataclass(slots=True)
class _Plan:
    """What a topic is to be."""

    name: str
    partitions: int
    values: dict[str, str]


def handle(node: Node, request: Any, context: Context) -> Any:
    """Make what can be made, and say of each topic what became of it."""
    twice = repeated(wanted.name for wanted in request.topics)
    rows: list[Any] = []
    made: list[Any] = []
    commits: list[Commit | None] = []
    for wanted in in_turns({wanted.name: wanted for wanted in request.topics}.values()):
        try:
            check_once(wanted.name, twice)
            plan = _plan(node, wanted)
            if request.validate_only:
                row = _row(node, plan, None)
            else:
                topic = _make(node, plan)
                row = _row(node, plan, topic)
                made.append(row)
                commits.append(topic.keep())
        except KafkaError as error:
            row = Row(name=wanted.name, num_partitions=-1, replication_factor=-1, configs=[])
            _fail(row, error)
        rows.append(row)
    failed = wait_until_kept(together(commits))
    if failed is not None:
        for row in made:
            _fail(row, failed)
    return encode_rows(CreateTopicsResponse, context.version, "topics", rows, throttle_time_ms=0)


def _plan(node: Node, wanted: Any) -> _Plan:
    """What is to be made of a row of the request. Raises KafkaError."""
    check_name(wanted.name)
    if find(node, wanted.name) is not None:
        raise KafkaError(Code.TOPIC_ALREADY_EXISTS, f"Topic '{wanted.name}' already exists.")
    partitions = _count_assigned(node, wanted) if wanted.assignments else _count(node, wanted)
    if partitions > MAX_PARTITIONS:
        raise KafkaError(Code.POLICY_VIOLATION, f"{partitions} partitions are too many: the limit is {MAX_PARTITIONS}")
    values = check_values(node.config, {config.name: config.value for config in wanted.configs})
    check_room(node, partitions)
    return _Plan(wanted.name, partitions, values)


def _count(node: Node, wanted: Any) -> int:
    if wanted.replication_factor not in {DEFAULT, 1}:
        raise KafkaError(
            Code.INVALID_REPLICATION_FACTOR,
            f"replication factor {wanted.replication_factor} cannot be had: there is one broker; say 1, or -1",
        )
    if wanted.num_partitions == DEFAULT:
        return node.partitions
    if wanted.num_partitions < 1:
        raise KafkaError(
            Code.INVALID_PARTITIONS,
            f"Number of partitions was set to an invalid non-positive value: {wanted.num_partitions}",
        )
    return int(wanted.num_partitions)


def _count_assigned(node: Node, wanted: Any) -> int:
    """How many partitions are given to servers by the client itself."""
    if wanted.num_partitions != DEFAULT or wanted.replication_factor != DEFAULT:
        raise KafkaError(
            Code.INVALID_REQUEST,
            "with assignments the number of partitions and the replication factor have to be -1: they say both",
        )
    numbers = sorted(each.partition_index for each in wanted.assignments)
    if numbers != list(range(len(numbers))):
        raise KafkaError(
            Code.INVALID_REPLICA_ASSIGNMENT, "partitions have to be numbered consecutively, and the first one is 0"
        )
    check_assignments({node.node_id}, [each.broker_ids for each in wanted.assignments])
    return len(numbers)


def _make(node: Node, plan: _Plan) -> Topic:
    """The topic, made; nothing switches greenlets since it was checked that it can be."""
    topic = node.broker.set_up(plan.name, plan.partitions)
    topic.make_log()
    set_values(node, topic, plan.values)
    return topic


def _row(node: Node, plan: _Plan, topic: Topic | None) -> Any:
    """What is told of a topic; None: of one that was not to be made."""
    values = plan.values if topic is None else own_values(node, topic)
    fields: dict[str, Any] = {} if topic is None else {"topic_id": node.topic_id(topic)}
    return Row(
        name=plan.name,
        error_code=Code.NONE,
        error_message=None,
        num_partitions=plan.partitions,
        replication_factor=1,
        configs=[
            ConfigRow(
                name=entry.name,
                value=entry.value,
                read_only=entry.is_read_only,
                config_source=entry.source,
                is_sensitive=False,
            )
            for entry in describe_topic(node.config, values)
        ],
        **fields,
    )


def _fail(row: Any, error: KafkaError) -> None:
    row.error_code, row.error_message = error.code, str(error)


API = Api(19, "CreateTopics", range(8), handle, CreateTopicsRequest, CreateTopicsResponse)
