"""What a fetch reads of one partition: whole batches from an offset on, and more of them as they come.

Knows no request and no other partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gstream.errors import DiskError
from gstream.kafka.codes import Code, KafkaError, code_of
from gstream.kafka.fetch_codec import PartitionReply
from gstream.storage.placed import OffsetOutOfRangeError

if TYPE_CHECKING:
    from gstream.share import AnyLog
    from gstream.topic import Topic

__all__ = ["LEADER_EPOCH", "Reader", "check_epoch"]

LEADER_EPOCH = 0
"""There is one node, which has led all partitions from the beginning."""


def check_epoch(epoch: int) -> None:
    """Raise KafkaError for what a client holds for the epoch of the leader, and is not; -1: it says nothing of it."""
    if epoch > LEADER_EPOCH:
        raise KafkaError(Code.UNKNOWN_LEADER_EPOCH)
    if epoch < -1:
        raise KafkaError(Code.FENCED_LEADER_EPOCH)


class Reader:
    """A place in a partition, and what was read from there on.

    max_bytes: of the partition. is_committed: only what is decided is read, and it is told what was aborted.
    missing: what is told when there is no topic, or none any more.
    """

    __slots__ = ("_is_committed", "_log", "_missing", "_offset", "max_bytes", "next_offset", "reply", "topic")

    def __init__(
        self,
        topic: Topic | None,
        index: int,
        offset: int,
        max_bytes: int,
        epoch: int,
        *,
        is_committed: bool,
        missing: Code = Code.UNKNOWN_TOPIC_OR_PARTITION,
    ) -> None:
        self.reply = PartitionReply(index)
        self.topic = topic
        self.next_offset = self._offset = offset
        self.max_bytes = max_bytes
        self._is_committed = is_committed
        self._missing = missing
        self._log: AnyLog | None = None
        try:
            self._log = self._find_log(index)
            check_epoch(epoch)
        except KafkaError as error:
            self._fail(error.code)

    @property
    def is_failed(self) -> bool:
        """Whether nothing can be read; the reply says why."""
        return self._log is None

    @property
    def is_due(self) -> bool:
        """Whether there is something to be read, or told."""
        log, topic = self._log, self.topic
        return log is None or topic is None or topic.removed or self.next_offset != self._end(log)

    def read(self, room: int, *, is_first: bool) -> int:
        """Read on: so many bytes of this fetch as a whole at the most. Returns how many more there are.

        Less than none, if the topic is gone: then what was read before is not given any more.

        is_first: nothing was read for this fetch yet, so that one batch is read even if it is larger. Blocks this
        greenlet.
        """
        before = self.reply.size
        try:
            self._read(room, is_first=is_first)
        except OffsetOutOfRangeError:
            if not before:  # what was read before it went is good
                self._fail(Code.OFFSET_OUT_OF_RANGE)
        except (KafkaError, DiskError) as error:
            self._fail(code_of(error))
        return self.reply.size - before

    def _read(self, room: int, *, is_first: bool) -> None:
        log, topic, reply = self._log, self.topic, self.reply
        if log is None or topic is None:
            return
        if topic.removed:
            raise KafkaError(self._missing)
        if not log.oldest_offset <= self.next_offset <= log.end_offset:
            raise OffsetOutOfRangeError
        end = self._end(log)
        wanted = min(self.max_bytes - reply.size, room)
        if self.next_offset >= end or (wanted <= 0 and not is_first):
            return
        fetched = log.read_records(self.next_offset, max(wanted, 1), end)
        if fetched.size <= room or is_first:
            reply.chunks += fetched.chunks
            reply.size += fetched.size
            self.next_offset = fetched.next_offset

    def _end(self, log: AnyLog) -> int:
        return log.stable_offset if self._is_committed else log.end_offset

    def finish(self) -> PartitionReply:
        """What there is of it, with where it begins and ends."""
        log, reply = self._log, self.reply
        if log is not None and self._is_committed and reply.size and log.oldest_offset > self._offset:
            self._fail(Code.OFFSET_OUT_OF_RANGE)  # of what went meanwhile, nobody knows any more what was aborted
            return self.reply
        if log is not None:
            reply.high_watermark = log.end_offset
            reply.stable_offset = log.stable_offset
            reply.start_offset = log.oldest_offset
            if self._is_committed:
                reply.aborted = log.aborted(self._offset, self.next_offset) if reply.size else []
        return reply

    def _fail(self, code: Code) -> None:
        self._log = None
        self.reply = PartitionReply(self.reply.index, code)

    def _find_log(self, index: int) -> AnyLog:
        if self.topic is None:
            raise KafkaError(self._missing)
        if not 0 <= index < len(self.topic.partitions):
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
        return self.topic.partitions[index]
