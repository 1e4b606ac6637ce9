"""DescribeLogDirs (35), versions 0 to 4: how much of what is kept where.

There is one place: the data directory, or memory. KIP-113, KIP-827 (from version 4: how much room there is).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from kafka.protocol.admin import DescribeLogDirsRequest, DescribeLogDirsResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.storage.disk import Disk

__all__ = ["API", "MEMORY", "place_of"]

Result = DescribeLogDirsResponse.DescribeLogDirsResult
TopicRow = Result.DescribeLogDirsTopic
PartitionRow = TopicRow.DescribeLogDirsPartition

MEMORY = "memory"
"""The name of the place of an engine without a directory."""


def handle(node: Node, request: Any, context: Context) -> Any:  # noqa: ARG001
    """Show what is asked for; what does not exist is left out. Blocks this greenlet."""
    topics = node.broker.topics
    wanted: dict[str, Iterable[int]]
    if request.topics is None:
        wanted = {name: range(len(topic.partitions)) for name, topic in topics.items()}
    else:
        wanted = {each.topic: dict.fromkeys(each.partitions) for each in request.topics if each.topic in topics}
    rows = [
        TopicRow(
            name=name,
            partitions=[
                PartitionRow(
                    partition_index=number,
                    partition_size=topics[name].partitions[number].kept_bytes,
                    offset_lag=0,
                    is_future_key=False,
                )
                for number in numbers
                if 0 <= number < len(topics[name].partitions)
            ],
        )
        for name, numbers in wanted.items()
    ]
    place, total, usable = _room(node)
    result = Result(error_code=Code.NONE, log_dir=place, topics=rows, total_bytes=total, usable_bytes=usable)
    return DescribeLogDirsResponse(throttle_time_ms=0, error_code=Code.NONE, results=[result])


def place_of(node: Node) -> str:
    """Where messages are kept."""
    return os.path.abspath(cast("Disk", node.engine).path) if node.engine.keeps else MEMORY


def _room(node: Node) -> tuple[str, int, int]:
    """Where messages are kept, how much fits in there at all, and how much now."""
    place = place_of(node)
    if not node.engine.keeps:
        return place, node.engine.max_bytes, max(0, node.engine.room_bytes)
    engine = cast("Disk", node.engine)
    volume = engine.pool.apply(os.statvfs, place)
    return place, volume.f_blocks * volume.f_frsize, volume.f_bavail * volume.f_frsize


API = Api(35, "DescribeLogDirs", range(5), handle, DescribeLogDirsRequest, DescribeLogDirsResponse)
