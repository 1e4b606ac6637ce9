"""Where ``f`` moves a group to: what a place means in a log.

Knows no socket and no wire format. May block its greenlet.
"""

from __future__ import annotations

from gstream.batch import OFFSET_BITS, PARTITION_SHIFT
from gstream.errors import ArgumentError
from gstream.group import Group
from gstream.share import AnyLog

__all__ = ["seek"]


def seek(group: Group, to: str, value: float, now: float) -> list[int]:
    """Move a group; where it is then, as ids, one a partition that was moved.

    to: "id" (of a message, which moves its partition), or for all partitions "before-end" (so many messages), "time"
    (seconds since 1970), "ago" (seconds before ``now``), "oldest", "end". Raises ArgumentError for a partition that
    does not exist.
    """
    if to == "id":
        partition, offset = int(value) >> PARTITION_SHIFT, int(value) & OFFSET_BITS
        if partition >= group.partition_count:
            raise ArgumentError(f"there are only {group.partition_count} partitions, counted from 0")
        return group.seek(lambda _log: offset, partition)

    def find(log: AnyLog) -> int:
        match to:
            case "before-end":
                return log.end_offset - int(value)
            case "time":
                return log.find_time(round(value * 1000))
            case "ago":
                return log.find_time(round((now - value) * 1000))
            case "oldest":
                return log.oldest_offset
            case _:
                assert to == "end"
                return log.end_offset

    offsets = {log.partition: find(log) for log in group.logs}  # looking on disk takes its time; moving does not
    return group.seek(lambda log: offsets.get(log.partition, log.oldest_offset))  # one that was added meanwhile
