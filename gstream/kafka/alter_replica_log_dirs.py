"""AlterReplicaLogDirs (34), versions 1 and 2: another directory for partitions (KIP-113).

There is one, which DescribeLogDirs shows: who moves partitions to where they are has nothing to wait for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kafka.protocol.admin import AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.describe_log_dirs import MEMORY, place_of
from gstream.kafka.topics import partition

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

Result = AlterReplicaLogDirsResponse.AlterReplicaLogDirTopicResult
Row = Result.AlterReplicaLogDirPartitionResult


def handle(node: Node, request: Any, context: Context) -> Any:  # noqa: ARG001
    """Say of each partition whether it is there; what is named for several places is told of the last one."""
    wanted: dict[str, dict[int, bool]] = {}
    for place in request.dirs:
        is_here = _is_here(node, place.path)
        for topic in place.topics:
            wanted.setdefault(topic.name, {}).update(dict.fromkeys(topic.partitions, is_here))
    results = [
        Result(
            topic_name=name,
            partitions=[
                Row(partition_index=index, error_code=_code(node, name, index) if is_here else Code.LOG_DIR_NOT_FOUND)
                for index, is_here in rows.items()
            ],
        )
        for name, rows in wanted.items()
    ]
    return AlterReplicaLogDirsResponse(throttle_time_ms=0, results=results)


def _is_here(node: Node, path: str) -> bool:
    """Whether that is the place where messages are kept."""
    place = place_of(node)
    return path == place or (place != MEMORY and os.path.abspath(path) == place)


def _code(node: Node, name: str, index: int) -> Code:
    try:
        partition(node, name, index)
    except KafkaError as error:
        return error.code
    return Code.NONE


API = Api(34, "AlterReplicaLogDirs", range(1, 3), handle, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse)
