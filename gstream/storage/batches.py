"""Looks for records by their times in whole batches.

A batch that cannot be read is taken as if its newest record, of which its header tells, were its first one. Knows no
file and no chain.
"""

from __future__ import annotations

from gstream.header import BytesLike
from gstream.record import APPEND_TIME, RecordsError, decode_records, records_header

__all__ = ["find_in_batch", "newest_in_batch"]


def find_in_batch(data: BytesLike, time_ms: int, first: int = 0) -> tuple[int, int] | None:
    """The offset and the time of the first record of this time or later, from this offset on. None: there is none."""
    header = records_header(data)
    if header.next_offset <= first or header.max_ms < time_ms:
        return None
    if header.attributes & APPEND_TIME:
        return max(first, header.base_offset), header.max_ms
    try:
        for record in decode_records(data):
            if record.time_ms >= time_ms and record.offset >= first:
                return record.offset, record.time_ms
    except RecordsError:
        return max(first, header.base_offset), header.max_ms
    return None


def newest_in_batch(data: BytesLike, first: int = 0) -> int:
    """The newest time of the records from this offset on, of which there must be one."""
    header = records_header(data)
    if header.base_offset >= first:
        return header.max_ms
    try:
        return max(record.time_ms for record in decode_records(data) if record.offset >= first)
    except (RecordsError, ValueError):
        return header.max_ms
