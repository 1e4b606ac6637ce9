"""DeleteRecords (21), versions 0 to 2: what lies before an offset is there no more (KIP-107).

Offset -1 stands for the end. Consumers find the partition's beginning moved at once; the reply comes when that is kept.
Files go as soon as nothing in them is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kafka.protocol.admin import DeleteRecordsRequest, DeleteRecordsResponse

from gstream.commit import Commit, together
from gstream.errors import GstreamError
from gstream.kafka.api import Api, Context, Deferred, Reply
from gstream.kafka.codes import Code, KafkaError, code_of
from gstream.kafka.topics import partition

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

END: Final = -1


def handle(node: Node, request: Any, context: Context) -> Reply:  # noqa: ARG001
    """Delete what can be deleted, and say of each partition where it begins now."""
    kind = DeleteRecordsResponse.DeleteRecordsTopicResult
    commits: list[tuple[Any, Commit]] = []
    topics = []
    for asked in request.topics:
        rows = []
        for each in asked.partitions:
            row = kind.DeleteRecordsPartitionResult(partition_index=each.partition_index, low_watermark=-1)
            try:
                row.low_watermark, commit = _delete(node, asked.name, each.partition_index, each.offset)
                if commit is not None:
                    commits.append((row, commit))
            except (KafkaError, GstreamError) as error:
                row.error_code = code_of(error)
            rows.append(row)
        topics.append(kind(name=asked.name, partitions=rows))
    response = DeleteRecordsResponse(throttle_time_ms=0, topics=topics)

    def finish() -> DeleteRecordsResponse:
        for row, commit in commits:
            if commit.error is not None:
                row.low_watermark, row.error_code = -1, Code.KAFKA_STORAGE_ERROR
        return response

    whole = together([commit for _, commit in commits])
    return response if whole is None else Deferred(whole, finish)


def _delete(node: Node, name: str, index: int, offset: int) -> tuple[int, Commit | None]:
    """Where the partition begins now, and when that is kept. Raises KafkaError, and DiskError."""
    _, log = partition(node, name, index)
    if offset == END:
        offset = log.end_offset
    if not 0 <= offset <= log.end_offset:
        raise KafkaError(Code.OFFSET_OUT_OF_RANGE)
    commit = log.delete_before(offset) if offset > log.oldest_offset else None
    return log.oldest_offset, commit


API = Api(
    key=21,
    name="DeleteRecords",
    versions=range(3),
    handle=handle,
    request=DeleteRecordsRequest,
    response=DeleteRecordsResponse,
)
