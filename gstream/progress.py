"""Progress: how far a group has come in a partition, message by message, as it is kept on disk.

Everything before ``low`` is done. Above it each message has a state, one byte: 0, not delivered; n, delivered so often
and not done (254: so often, or more); 255, done. A thousand states are a chunk, and only chunks that have changed are
written. Whoever restarts goes on at ``low``, and passes over what is done.

A message that is given back for later, or whose segment is to go while it is leased, is *kept*: with its body, outside
of the log, which counts it as done.

Knows no file, no thread and no consumer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gstream.batch import Batch
from gstream.storage.changes import CHUNK_MESSAGES, DONE, Changes, KeptMessage

__all__ = ["CHUNK_MESSAGES", "DONE", "Progress"]

CHUNK_BITS: Final = CHUNK_MESSAGES.bit_length() - 1
_MASK: Final = CHUNK_MESSAGES - 1

MOST_ATTEMPTS: Final = 254

_DONE: Final = bytes([DONE])
_ALL_DONE: Final = _DONE * CHUNK_MESSAGES


class Progress:
    """What a group has done in a partition.

    key: the names of topic and group, and the partition's number.
    note: called with this object when it differs from what was collected last.
    """

    def __init__(self, key: tuple[str, str, int], note: Callable[[Progress], object]) -> None:
        self._key = key
        self._note = note
        self._noted = False
        self._is_closed = False
        self.low = 0
        """Of the first message that is not done."""
        self._saved_low = -1
        self._chunks: dict[int, bytearray] = {}
        self._dirty: set[int] = set()
        self._saved: set[int] = set()
        self.kept: dict[int, KeptMessage] = {}
        """Messages that lie outside of the log, by offset."""
        self._kept_changes: dict[int, KeptMessage | None] = {}
        self.restored_end = 0
        """Below this offset there may be messages that are done already, or were delivered before."""

    # --- what happens to messages

    def mark(self, offset: int, count: int, state: int) -> None:
        """These messages are in this state now. state: DONE, or how often they were delivered.

        What lies before ``low`` stays done, whatever is said of it here: if it is not, it has to be kept.
        """
        state = state if state == DONE else min(state, MOST_ATTEMPTS)
        if self.kept and not self.kept.keys().isdisjoint(range(offset, offset + count)):
            for each in range(offset, offset + count):
                self._mark_one(each, state)
        else:
            self._mark(offset, count, state)

    def _mark(self, offset: int, count: int, state: int) -> None:
        if offset < self.low:
            count -= self.low - offset
            offset = self.low
            if count <= 0:
                return
        if not self._noted:
            self._changed()
        number = offset >> CHUNK_BITS
        start = offset & _MASK
        while True:
            chunk = self._chunks.get(number)
            if chunk is None:
                chunk = self._chunks[number] = bytearray(CHUNK_MESSAGES)
            self._dirty.add(number)
            if count == 1:
                chunk[start] = state
                return
            size = min(count, CHUNK_MESSAGES - start)
            chunk[start : start + size] = (_ALL_DONE if state == DONE else bytes([state]) * size)[:size]
            count -= size
            if not count:
                return
            number += 1
            start = 0

    def _changed(self) -> None:
        if not self._noted:
            self._noted = True
            self._note(self)

    def mark_ids(self, offsets: Iterable[int], state: int) -> None:
        """The same for messages that need not be consecutive, in any order."""
        first = end = -1
        for offset in offsets:
            if offset == end:
                end += 1
                continue
            if first >= 0:
                self.mark(first, end - first, state)
            first, end = offset, offset + 1
        if first >= 0:
            self.mark(first, end - first, state)

    def _mark_one(self, offset: int, state: int) -> None:
        kept = self.kept.get(offset)
        if kept is None:
            self._mark(offset, 1, state)
        elif state == DONE:
            del self.kept[offset]
            self._change_kept(offset, None)
        else:
            self._change_kept(offset, KeptMessage(state, kept.due_ms, kept.time_ms, kept.kind, kept.data))

    def keep(self, batch: Batch, due_ms: int, attempts: int) -> None:
        """Keep these messages outside of the log, to be delivered again from then on (ms since 1970).

        attempts: how often they were delivered.
        """
        state = min(attempts, MOST_ATTEMPTS)
        data = batch.data
        start = 0
        for offset in range(batch.offset, batch.offset + batch.count):
            end = batch.find_end(data, start, len(data), 1, batch.offset + batch.count - offset)
            if offset not in self.kept:
                self.mark(offset, 1, DONE)
            self._change_kept(offset, KeptMessage(state, due_ms, batch.time_ms(offset), batch.magic, data[start:end]))
            start = end

    def _change_kept(self, offset: int, kept: KeptMessage | None) -> None:
        if kept is not None:
            self.kept[offset] = kept
        self._kept_changes[offset] = kept
        self._changed()

    def lose(self, end: int) -> None:
        """What lies before this offset is there no more."""
        if end <= self.low:
            return
        self._drop_chunks(end)
        self.low = end
        self._changed()

    def take_back(self, end: int) -> None:
        """What lay from this offset on is lost; other messages will lie there."""
        for number, chunk in list(self._chunks.items()):
            first = number << CHUNK_BITS
            if first + CHUNK_MESSAGES > end:
                start = max(0, end - first)
                chunk[start:] = bytes(CHUNK_MESSAGES - start)
                self._dirty.add(number)
                if not any(chunk):
                    del self._chunks[number]
        for offset in [each for each in self.kept if each >= end]:
            del self.kept[offset]
            self._kept_changes[offset] = None
        self.low = min(self.low, end)
        self.restored_end = min(self.restored_end, end)
        self._changed()

    def _drop_chunks(self, end: int) -> None:
        for number in [each for each in self._chunks if (each + 1) << CHUNK_BITS <= end]:
            del self._chunks[number]
            self._dirty.add(number)

    def reset(self, offset: int) -> None:
        """The group was moved: it has done everything before this offset, and nothing from there on."""
        self._dirty.update(self._chunks)
        self._chunks.clear()
        for each in self.kept:
            self._kept_changes[each] = None
        self.kept.clear()
        self.low = offset
        self.restored_end = 0
        self._changed()

    def close(self) -> None:
        """The group is removed: nothing of it is kept any more."""
        self._is_closed = True

    # --- what is kept of it

    def collect(self, changes: Changes) -> None:
        """Put what has changed since the last time into ``changes``."""
        self._noted = False
        if self._is_closed:
            return
        self._advance()
        if self.low != self._saved_low:
            changes.lows[self._key] = self._saved_low = self.low
        for number in self._dirty:
            chunk = self._chunks.get(number)
            if chunk is not None and (number != self.low >> CHUNK_BITS or any(chunk[self.low & _MASK :])):
                changes.chunks[*self._key, number] = bytes(chunk)
                self._saved.add(number)
            elif number in self._saved:
                changes.chunks[*self._key, number] = None
                self._saved.discard(number)
        self._dirty.clear()
        for offset, kept in self._kept_changes.items():
            changes.kept[*self._key, offset] = kept
        self._kept_changes.clear()

    def _advance(self) -> None:
        """Move ``low`` over what is done."""
        while (chunk := self._chunks.get(self.low >> CHUNK_BITS)) is not None:
            rest = chunk[self.low & _MASK :]
            done = len(rest) - len(rest.lstrip(_DONE))
            self.low += done
            if self.low & _MASK or not done:
                return
            number = (self.low >> CHUNK_BITS) - 1
            del self._chunks[number]
            self._dirty.add(number)

    def restore(
        self, low: int, chunks: Mapping[int, bytes], kept: Mapping[int, KeptMessage], oldest: int, end: int
    ) -> None:
        """What was kept, for a log that has the messages from ``oldest`` up to ``end``.

        What was done beyond its end, which a loss of power has taken back, will be other messages.
        """
        self._saved_low = low
        self._saved.update(chunks)
        for offset, message in kept.items():
            if offset < end:
                self.kept[offset] = message
            else:
                self._kept_changes[offset] = None
        self.low = min(max(low, oldest), end)
        for number, states in chunks.items():
            first = number << CHUNK_BITS
            chunk = bytearray(states.ljust(CHUNK_MESSAGES, b"\0"))
            if first + CHUNK_MESSAGES > end:
                chunk[max(0, end - first) :] = bytes(CHUNK_MESSAGES - max(0, end - first))
            self._dirty.add(number)
            if first + CHUNK_MESSAGES > self.low and any(chunk):
                self._chunks[number] = chunk
        self._advance()
        if self._chunks:
            self.restored_end = min((max(self._chunks) + 1) << CHUNK_BITS, end)
        self._changed()

    def run_at(self, offset: int) -> tuple[int, int]:
        """The state of the message at this offset, and how many from it on are in that one."""
        chunk = self._chunks.get(offset >> CHUNK_BITS)
        start = offset & _MASK
        if chunk is None:
            return 0, CHUNK_MESSAGES - start
        state = chunk[start]
        rest = chunk[start:]
        return state, len(rest) - len(rest.lstrip(bytes([state])))

    def count_done(self, first: int, end: int) -> int:
        """How many of the messages from ``first`` up to ``end``, none of them before ``low``, are done."""
        done = 0
        for number in range(first >> CHUNK_BITS, (end + _MASK) >> CHUNK_BITS):
            chunk = self._chunks.get(number)
            if chunk is not None:
                start = number << CHUNK_BITS
                done += chunk.count(DONE, max(0, first - start), max(0, end - start))
        return done

    def unfinished(self, end: int, most: int) -> list[int]:
        """The offsets of the first messages before ``end`` that are not done, so many at the most."""
        found: list[int] = []
        offset = self.low
        while offset < end and len(found) < most:
            state, count = self.run_at(offset)
            count = min(count, end - offset)
            if state != DONE:
                found += range(offset, offset + count)
            offset += count
        return found[:most]
