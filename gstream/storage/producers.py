"""What a log knows of those who store record batches in it: which is due from them, and whose transaction is open.

A producer numbers its messages, so that a batch that it sends again is not stored again, and one that is missing is
missed. The last five batches are remembered, as many as Kafka's clients have on their way at once.

A batch is *placed* when it has an offset, and *noted* when it is stored: what is due follows from both, what others may
read from the latter only. Knows no file; whoever keeps it uses :meth:`ProducerStates.encode`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from struct import Struct, error
from typing import Final, NamedTuple

from gstream.header import Header
from gstream.record import CONTROL, TRANSACTIONAL

__all__ = [
    "EXPIRE_MS",
    "MOST_PRODUCERS",
    "DuplicateSequenceError",
    "OutOfOrderError",
    "ProducerError",
    "ProducerStates",
    "StaleEpochError",
]

EXPIRE_MS: Final = 7 * 24 * 3600 * 1000
"""A producer that was silent for so long is forgotten; it is welcome again with any number."""

LOOK_MS: Final = 3600 * 1000
"""How often is looked for those."""

MOST_PRODUCERS: Final = 10_000
"""If there are more, those are forgotten first that were silent for longest: each takes up to 1,500 bytes."""

_PASSED_AT_ONCE: Final = 16
"""So many whose transactions are open are passed over to find one that can be forgotten."""

KEPT_BATCHES: Final = 5
_LAST_NUMBER: Final = (1 << 31) - 1
"""The number after that is 0."""
_FAR: Final = 1 << 30
_NOT_OPEN: Final = -1

_COUNTS: Final = Struct(">II")
"""Of the producers, and of the transactions that were aborted."""
_PRODUCER: Final = Struct(">qhqqqB")
"""Its id and the fields of _Producer, the last of which is the count of its batches."""
_BATCH: Final = Struct(">iiq")
_ABORTED: Final = Struct(">qqqq")


class ProducerError(ValueError):
    """A batch that is not the one that is due from its producer. Nothing was stored."""


class OutOfOrderError(ProducerError):
    """There is a gap between it and what came before."""


class DuplicateSequenceError(ProducerError):
    """It is stored already, so long ago that it is not known where."""


class StaleEpochError(ProducerError):
    """Another one has taken its producer's place."""


class _Batch(NamedTuple):
    """One batch of a producer: the numbers of its first and last message, and the first one's offset."""

    first: int
    last: int
    offset: int


class _Producer(NamedTuple):
    """What is known of a producer.

    noted_ms: when it was last heard of; 0: that is not known, and counts as now. open_offset: of the first message of
    its transaction. reach: so many numbers before the one that is due were stored. batches: the last of this epoch.
    """

    epoch: int
    noted_ms: int = 0
    open_offset: int = _NOT_OPEN
    reach: int = 0
    batches: tuple[_Batch, ...] = ()

    def after(self, header: Header, offset: int, now_ms: int) -> _Producer:
        """What is known of it after this batch."""
        is_new = header.producer_epoch != self.epoch
        batches, reach = ((), 0) if is_new else (self.batches, self.reach)
        open_offset = self.open_offset
        if header.attributes & CONTROL:
            open_offset = _NOT_OPEN
        else:
            last = (header.base_sequence + header.last_offset_delta) & _LAST_NUMBER
            batches = (*batches[1 - KEPT_BATCHES :], _Batch(header.base_sequence, last, offset))
            reach = min(reach + header.last_offset_delta + 1, _FAR)
            if header.attributes & TRANSACTIONAL and open_offset == _NOT_OPEN:
                open_offset = offset
        return _Producer(header.producer_epoch, now_ms, open_offset, reach, batches)


class _Aborted:
    """Transactions that were aborted, in the order of their ends; 32 bytes for each.

    Of each: its producer, its first message's offset, its end's, and before which offset no transaction was open then.
    Nothing that ended later has messages before that: so a few of very many are found without looking at the others.
    """

    __slots__ = ("_columns",)

    def __init__(self, columns: Iterable[array[int]] = ()) -> None:
        self._columns = tuple(columns) or tuple(array("q") for _ in range(4))

    def __len__(self) -> int:
        return len(self._columns[0])

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return zip(*self._columns, strict=True)

    def add(self, *row: int) -> None:
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def find(self, first: int, end: int) -> list[tuple[int, int]]:
        """The producers of those with messages in this range, and where they began."""
        producers, openings, ends, stable = self._columns
        found = []
        for at in range(bisect_left(ends, first), len(ends)):
            if openings[at] < end:
                found.append((producers[at], openings[at]))
            if stable[at] >= end:
                break
        return found

    def drop_before(self, offset: int) -> None:
        """Forget those that ended before this offset."""
        ends = self._columns[2]
        if ends and ends[0] < offset:
            count = bisect_left(ends, offset)
            for column in self._columns:
                del column[:count]

    def copy(self) -> _Aborted:
        return _Aborted(column[:] for column in self._columns)


class ProducerStates:
    """The producers of one log, and their transactions."""

    def __init__(self) -> None:
        self._stored: OrderedDict[int, _Producer] = OrderedDict()  # who was heard of last is the last
        self._placed: dict[int, tuple[_Producer, int]] = {}  # with what is not stored yet; how many batches that is
        self._open: dict[int, int] = {}
        self._aborted = _Aborted()
        self._looked_ms = 0

    def __len__(self) -> int:
        return len(self._stored) + len(self._aborted)

    def check(self, header: Header) -> int | None:
        """Whether this batch is due; if it is stored already, or placed, the offset of its first message.

        Raises ProducerError if it is neither.
        """
        placed = self._placed.get(header.producer_id)
        known = self._stored.get(header.producer_id) if placed is None else placed[0]
        if known is None or header.producer_id < 0:
            return None
        epoch, first = header.producer_epoch, header.base_sequence
        if epoch < known.epoch:
            raise StaleEpochError(f"producer {header.producer_id} has epoch {known.epoch}, and not {epoch} any more")
        if header.attributes & CONTROL:
            return None
        batches = known.batches
        if epoch > known.epoch:
            if first:
                raise OutOfOrderError(f"{first} where 0 was due from producer {header.producer_id} in epoch {epoch}")
            return None
        if not batches:
            return None
        due = (batches[-1].last + 1) & _LAST_NUMBER
        if first == due:
            return None
        last = (first + header.last_offset_delta) & _LAST_NUMBER
        for batch in batches:
            if batch.first == first and batch.last == last:
                return batch.offset
        is_before = 0 < _distance(last, batches[0].first) <= _FAR
        if is_before and _distance(first, due) <= known.reach:
            raise DuplicateSequenceError(f"producer {header.producer_id} has sent {first} before")
        raise OutOfOrderError(f"{first} where {due} was due from producer {header.producer_id}")

    def place(self, header: Header, offset: int) -> None:
        """A batch of a producer gets that offset, and will be noted, unless it is taken back."""
        known, count = self._placed.get(header.producer_id, (None, 0))
        known = known or self._stored.get(header.producer_id) or _Producer(header.producer_epoch)
        self._placed[header.producer_id] = known.after(header, offset, known.noted_ms), count + 1

    def take_back(self, still: Iterable[tuple[Header, int]] = ()) -> None:
        """Of what was placed, only these batches may still be stored."""
        self._placed.clear()
        for header, offset in still:
            self.place(header, offset)

    def note(self, header: Header, offset: int, commits: bool | None = None, now_ms: int = 0) -> None:
        """A batch of a producer is stored at that offset. commits: what it says if it is a transaction's end."""
        producer_id = header.producer_id
        known = self._stored.get(producer_id) or _Producer(header.producer_epoch)
        self._stored[producer_id] = known.after(header, offset, now_ms)
        self._stored.move_to_end(producer_id)
        if header.attributes & CONTROL:
            opened = self._open.pop(producer_id, None)
            if opened is not None and not commits:
                self._aborted.add(producer_id, opened, offset, self.stable_offset(offset + 1))
        elif header.attributes & TRANSACTIONAL:
            self._open.setdefault(producer_id, offset)
        placed = self._placed.get(producer_id)
        if placed is not None:
            if placed[1] == 1:
                del self._placed[producer_id]
            else:
                self._placed[producer_id] = placed[0], placed[1] - 1
        if len(self._stored) > MOST_PRODUCERS:
            self._forget_oldest()
        if now_ms - self._looked_ms > LOOK_MS:
            self._looked_ms = now_ms
            self.expire(now_ms)

    def _forget_oldest(self) -> None:
        for _ in range(_PASSED_AT_ONCE):
            producer_id = next(iter(self._stored))
            if producer_id not in self._open and producer_id not in self._placed:
                del self._stored[producer_id]
                return
            self._stored.move_to_end(producer_id)

    def expire(self, now_ms: int) -> None:
        """Forget producers that were not heard of for long, unless their transactions are open."""
        in_use = self._open.keys() | self._placed.keys()
        for producer_id, producer in list(self._stored.items()):
            if not producer.noted_ms:
                self._stored[producer_id] = producer._replace(noted_ms=now_ms)
            elif producer.noted_ms < now_ms - EXPIRE_MS and producer_id not in in_use:
                del self._stored[producer_id]

    # --- transactions

    def stable_offset(self, end: int) -> int:
        """Before which offset it is known of each message whether it counts: there, no transaction is open."""
        return min(self._open.values(), default=end)

    def open_producers(self) -> dict[int, int]:
        """Whose transactions are open: their ids, and the epoch of each."""
        return {producer_id: self._stored[producer_id].epoch for producer_id in self._open}

    def aborted(self, first: int, end: int) -> list[tuple[int, int]]:
        """Transactions that were aborted and have messages in this range: their producers, and where they began."""
        return self._aborted.find(first, end)

    def drop_before(self, offset: int) -> None:
        """The messages before this offset are gone, and with them what was aborted there."""
        self._aborted.drop_before(offset)

    # --- keeping

    def encode(self) -> bytes:
        """What is stored, as bytes."""
        parts = [_COUNTS.pack(len(self._stored), len(self._aborted))]
        for producer_id, (epoch, noted_ms, open_offset, reach, batches) in self._stored.items():
            parts.append(_PRODUCER.pack(producer_id, epoch, noted_ms, open_offset, reach, len(batches)))
            parts += [_BATCH.pack(*batch) for batch in batches]
        parts += [_ABORTED.pack(*each) for each in self._aborted]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> ProducerStates:
        """What was stored. Raises ValueError."""
        states = cls()
        try:
            position = states._decode(data)
        except error as wrong:
            raise ValueError(f"cut off: {wrong}") from None
        if position != len(data):
            raise ValueError("there is more behind it")
        return states

    def _decode(self, data: bytes) -> int:
        producers, aborted = _COUNTS.unpack_from(data)
        position = _COUNTS.size
        for _ in range(producers):
            producer_id, epoch, noted_ms, open_offset, reach, count = _PRODUCER.unpack_from(data, position)
            position += _PRODUCER.size
            batches = []
            for _ in range(count):
                batches.append(_Batch(*_BATCH.unpack_from(data, position)))
                position += _BATCH.size
            self._stored[producer_id] = _Producer(epoch, noted_ms, open_offset, reach, tuple(batches))
            if open_offset != _NOT_OPEN:
                self._open[producer_id] = open_offset
        for _ in range(aborted):
            self._aborted.add(*_ABORTED.unpack_from(data, position))
            position += _ABORTED.size
        return position

    def copy(self) -> ProducerStates:
        """The same, to go on from; without what is placed only."""
        other = ProducerStates()
        other._stored, other._open, other._aborted = self._stored.copy(), self._open.copy(), self._aborted.copy()
        return other


def _distance(number: int, other: int) -> int:
    """How many numbers it is from one to the other, upwards."""
    return (other - number) & _LAST_NUMBER
