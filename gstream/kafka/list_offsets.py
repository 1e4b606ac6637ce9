"""ListOffsets (2), versions 1 to 8: the offset that belongs to a time, and those at which a partition begins and ends.

Times are milliseconds since 1970, or -1: the end, -2: the beginning, -3: of the newest record (version 7, KIP-734),
-4: the beginning of what is on this machine (version 8, KIP-405), which is all of it. Who reads only what is decided
(version 2, KIP-98) gets the last stable offset for the end. A time later than that of all records has offset -1 and no
error. Never makes a topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kafka.protocol.consumer import ListOffsetsRequest, ListOffsetsResponse

from gstream.errors import GstreamError
from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code, KafkaError, code_of
from gstream.kafka.reading import LEADER_EPOCH, check_epoch
from gstream.kafka.topics import partition

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.share import AnyLog

__all__ = ["API"]

LATEST: Final = -1
EARLIEST: Final = -2
NEWEST: Final = -3
EARLIEST_LOCAL: Final = -4

SINCE: Final = {LATEST: 1, EARLIEST: 1, NEWEST: 7, EARLIEST_LOCAL: 8}
"""From which version on these stand for something."""

READ_COMMITTED: Final = 1

NOTHING: Final = (-1, -1)
"""The time and the offset of what there is not."""


def handle(node: Node, request: Any, context: Context) -> ListOffsetsResponse:
    """Look each of them up. Blocks this greenlet where files have to be read."""
    kind = ListOffsetsResponse.ListOffsetsTopicResponse
    is_committed = request.isolation_level == READ_COMMITTED
    seen: set[tuple[str, int]] = set()
    topics = []
    for asked in request.topics:
        rows = []
        for each in asked.partitions:
            row = kind.ListOffsetsPartitionResponse(partition_index=each.partition_index)
            try:
                _check_new(seen, asked.name, each.partition_index)
                _, log = partition(node, asked.name, each.partition_index)
                check_epoch(each.current_leader_epoch)
                row.timestamp, row.offset = _find(log, each.timestamp, context.version, is_committed=is_committed)
                row.leader_epoch = LEADER_EPOCH if row.offset >= 0 else -1
            except (KafkaError, GstreamError) as error:
                row.error_code = code_of(error)
            rows.append(row)
        topics.append(kind(name=asked.name, partitions=rows))
    return ListOffsetsResponse(throttle_time_ms=0, topics=topics)


def _check_new(seen: set[tuple[str, int]], name: str, index: int) -> None:
    """Raise KafkaError for a partition that was asked for before, in the same request."""
    if (name, index) in seen:
        raise KafkaError(Code.INVALID_REQUEST)
    seen.add((name, index))


def _find(log: AnyLog, time_ms: int, version: int, *, is_committed: bool) -> tuple[int, int]:
    """A record's time and its offset. Raises KafkaError, and DiskError."""
    end = log.stable_offset if is_committed else log.end_offset
    if time_ms < 0 and SINCE.get(time_ms, version + 1) > version:
        raise KafkaError(Code.UNSUPPORTED_VERSION)
    if time_ms == LATEST:
        return -1, end
    if time_ms in {EARLIEST, EARLIEST_LOCAL}:
        return -1, log.oldest_offset
    found = log.newest_record() if time_ms == NEWEST else log.find_record(time_ms)
    if found is None or found[0] >= end:
        return NOTHING
    offset, found_ms = found
    return found_ms, offset


API = Api(
    key=2,
    name="ListOffsets",
    versions=range(1, 9),
    handle=handle,
    request=ListOffsetsRequest,
    response=ListOffsetsResponse,
)
