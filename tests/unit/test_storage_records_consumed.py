"""Record batches, and those who consume messages: what a group gets of them, and what it costs everybody else."""

from __future__ import annotations

import sys
from functools import partial
from itertools import product
from random import Random

import gevent
import pytest

from gstream.counted import CountedBatch, pack_counted
from gstream.header import unpack_header
from gstream.record import Record
from gstream.records import encode_batch
from gstream.storage.chain_records import MANY_RECORDS, PIECES_AT_ONCE
from gstream.storage.piece import OPENED_AT_ONCE, OPENED_BYTES, UNPACKED_AT_ONCE, Piece
from gstream.storage.threads import Threads
from tests.unit.records_ground import RecordsInMemory, RecordsOnDisk, batch_of, marker

TRANSACTIONAL = {"producer_id": 7, "producer_epoch": 0, "is_transactional": True}


@pytest.fixture(params=["memory", "disk"])
def make(request, tmp_path):
    grounds = []

    def make(**settings):
        if request.param == "memory":
            return RecordsInMemory(**settings)
        grounds.append(RecordsOnDisk(tmp_path, **settings))
        return grounds[-1]

    yield make
    for ground in grounds:
        ground.disk.close()


@pytest.fixture
def ground(make):
    return make()


@pytest.fixture
def pool():
    pool = Threads(1)
    yield pool
    pool.close()


def numbered(count, **fields):
    """A batch of messages that are their numbers."""
    return batch_of(*[b"%d" % number for number in range(count)], **fields)


def numbers(first, end):
    return [b"%d" % number for number in range(first, end)]


# --- the ends of transactions


class Written:
    """A topic in which records, lines, counted messages and ends of transactions lie in some order."""

    def __init__(self, ground, name):
        self.ground = ground
        self.topic = ground.broker.topic(name)
        self.topic.make_log()
        self.log = self.topic.partitions[0]
        self.bodies = []

    def write(self, kind):
        """Store one of them; who does not wait for that has them written together."""
        body = b"%d %s" % (len(self.bodies), kind.encode())
        if kind == "end":
            data = marker(7, commits=len(self.bodies) % 2 == 0)
            self.topic.append_records(0, data, unpack_header(data))
            return
        if kind == "records":
            data = batch_of(body, base_sequence=sum(b"records" in each for each in self.bodies), **TRANSACTIONAL)
            self.topic.append_records(0, data, unpack_header(data))
        elif kind == "line":
            self.topic.publish(b"p" + body + b"\n", 1)
        else:
            self.topic.take_in(pack_counted(body, b"key"), b"key")
        self.bodies.append(body)

    def until_stored(self):
        if self.ground.keeps:
            self.log.wait_until_idle()

    def take_all(self, group):
        taken = []
        group = self.topic.group(group)
        while True:
            batch = group.take(3, 1000)
            while batch is None and group.is_unready:
                group.load()
                batch = group.take(3, 1000)
            if batch is None:
                return taken
            group.done(batch)
            taken += batch.bodies()

    def check(self):
        """However somebody comes to them, there are these messages, and nothing else."""
        for group in ("early", "late"):
            if group not in self.topic.groups:
                assert self.take_all(group) == self.bodies
            assert self.topic.group(group).backlog == 0
        seen = [body for batch in self.topic.peek("nobody", 100) for body in batch.bodies()]
        assert seen == self.bodies
        for offset in range(self.log.end_offset):
            self.topic.group("late").seek(lambda _log, offset=offset: offset)
            peeked = [body for batch in self.topic.peek("late", 100) for body in batch.bodies()]
            taken = self.take_all("late")
            assert taken == peeked
            assert taken == self.bodies[len(self.bodies) - len(taken) :]


@pytest.mark.parametrize("together", [False, True])
def test_the_end_of_a_transaction_is_never_a_message(ground, together):
    topics = []
    for number, kinds in enumerate(product(["records", "end", "line", "counted"], repeat=3)):
        written = Written(ground, f"jobs-{number}")
        topics.append(written)
        early = []
        for kind in ("records", *kinds, "end"):
            written.write(kind)
            if not together:
                written.until_stored()
                early += written.take_all("early")
        written.until_stored()
        early += written.take_all("early")
        assert early == written.bodies
        written.check()
    if ground.keeps:
        ground.restart()
        for written in topics:
            written.topic = ground.broker.topics[written.topic.name]
            written.log = written.topic.partitions[0]
            assert written.take_all("early") == []
            written.check()


def test_who_waits_is_not_handed_the_end_of_a_transaction(ground):
    group = ground.topic.group()
    handed = []

    class Box:
        leases = False
        put = handed.append

    box = Box()
    group.waiting[box] = 1
    ground.append(marker())
    gevent.sleep(0.01)
    assert handed == []
    assert list(group.waiting) == [box]
    ground.append(batch_of(b"a"))
    while not handed:
        gevent.sleep(0)
    assert handed[0].bodies() == [b"a"]


# --- batches with many records


@pytest.mark.parametrize("compression", [0, 1])
def test_many_records_are_opened_a_few_at_a_time(compression):
    ground = RecordsInMemory()
    count = 10 * OPENED_AT_ONCE + 3
    ground.append(numbered(count, compression=compression))
    ground.publish(b"behind")
    first = ground.take()
    assert first.count == OPENED_AT_ONCE, "others have their turn"
    assert first.bodies() + ground.take_all() == [*numbers(0, count), b"behind"]
    assert ground.disk.held_bytes == 0


def test_large_records_are_opened_a_few_at_a_time():
    ground = RecordsInMemory()
    ground.append(batch_of(*[b"x" * OPENED_BYTES] * 3))
    assert [ground.take().count for _ in range(3)] == [1, 1, 1]
    ground.append(batch_of(*[b"x" * (OPENED_BYTES // 2)] * 3))
    assert [ground.take().count for _ in range(2)] == [2, 1]


@pytest.mark.parametrize(
    "offset", [1, 2, OPENED_AT_ONCE - 1, OPENED_AT_ONCE, OPENED_AT_ONCE + 1, 2 * OPENED_AT_ONCE + 9]
)
def test_a_group_goes_into_the_midst_of_many_records(ground, offset):
    count = 2 * OPENED_AT_ONCE + 10
    ground.append(batch_of(b"x" * 200, b"y"))
    ground.append(numbered(count))
    group = ground.topic.group()
    group.seek(lambda _log: offset + 2)
    seen = group.peek(10, 1000)
    assert seen[0].bodies()[0] == b"%d" % offset
    assert seen[0].time_ms(offset + 2) == 1000 + offset
    taken = ground.take(most=1)
    assert (taken.offset, taken.bodies()) == (offset + 2, [b"%d" % offset])
    assert ground.take_all() == numbers(offset + 1, count)


def test_times_keys_and_headers_of_many_records_are_kept(ground):
    records = [
        Record(at, 1000 + at // 3, b"k%d" % at if at % 2 else None, b"v%d" % at, (("h", b"%d" % at),) if at % 5 else ())
        for at in range(2 * OPENED_AT_ONCE + 1)
    ]
    ground.append(encode_batch(records, compression=1))
    found = []
    while batch := ground.take(most=100):
        assert isinstance(batch, CountedBatch)
        found += batch.messages()
    assert [(each.offset, each.time_ms, each.key, each.body, each.headers) for each in found] == records


def test_records_that_become_unreadable_are_passed_over_from_there_on():
    ground = RecordsInMemory()
    records = [Record(at, 1000, None, b"%d" % at) for at in range(3 * OPENED_AT_ONCE)]
    data = bytearray(encode_batch(records))
    at = data.index(b"%d" % (2 * OPENED_AT_ONCE))
    data[at - 2 : at] = b"\xff\xff"
    ground.append(bytes(data))
    ground.publish(b"behind")
    assert ground.take_all() == [*numbers(0, 2 * OPENED_AT_ONCE), b"behind"]
    assert ground.disk.held_bytes == 0


def with_headers(count, headers):
    """A batch of so many numbers, each with so many empty headers."""
    records = [Record(at, 1000, None, b"%d" % at, (("", b""),) * headers) for at in range(count)]
    return encode_batch(records, compression=1)


def test_many_headers_are_opened_a_few_at_a_time():
    ground = RecordsInMemory()
    ground.append(with_headers(10, 500))
    first = ground.take()
    assert first.count == 2, "a header takes as long as many bytes"
    assert first.bodies() + ground.take_all() == numbers(0, 10)


def test_large_keys_are_opened_a_few_at_a_time():
    ground = RecordsInMemory()
    ground.append(encode_batch([Record(at, 1000, b"k" * OPENED_BYTES, b"") for at in range(3)]))
    assert [ground.take().count for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("headers", [5_000, 5_001])
def test_more_headers_than_anybody_has_are_for_kafkas_clients_alone(ground, headers):
    data = with_headers(1, headers)
    ground.append(data)
    ground.publish(b"behind")
    assert ground.take_all() == ([b"0"] if headers <= 5_000 else []) + [b"behind"]
    assert ground.fetch(0, 1) == data


# --- batches that become large when they are unpacked

SIZE = 1000
COUNT = UNPACKED_AT_ONCE // SIZE + 10


def large(*, compression=1, end=b"x"):
    """A batch that is unpacked in a thread."""
    return batch_of(*[(b"%d " % number).ljust(SIZE, end) for number in range(COUNT)], compression=compression)


def told(batches):
    """The numbers that messages begin with."""
    return [int(body.split()[0]) for batch in batches for body in batch.bodies()]


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 4])
def test_others_run_while_a_large_batch_is_unpacked(pool, compression):
    ground = RecordsInMemory(pool=pool)
    group = ground.topic.group()
    ground.append(large(compression=compression))
    ground.publish(b"behind")
    assert (group.take(9, 1 << 20), group.is_unready) == (None, True)
    assert (group.take(9, 1 << 20), group.is_unready) == (None, True), "and it is unpacked once"
    group.load()
    assert not group.is_unready
    batches = []
    while batch := group.take(100, 1 << 20):
        batches.append(batch)
    assert batches.pop().bodies() == [b"behind"]
    assert told(batches) == list(range(COUNT))
    assert ground.disk.held_bytes == 0


def test_a_small_batch_that_becomes_large_goes_to_the_thread(pool):
    ground = RecordsInMemory(pool=pool)
    ground.append(data := large())
    assert len(data) < UNPACKED_AT_ONCE // 10
    ground.take(most=1)
    assert ground.disk.held_bytes > UNPACKED_AT_ONCE
    ground.append(batch_of(b"a", compression=1))
    ground.topic.group("late").seek(lambda _log: COUNT)
    assert ground.topic.group("late").take(9, 99).bodies() == [b"a"], "no thread is asked for what is small"


def test_who_waits_is_handed_what_was_unpacked(pool):
    ground = RecordsInMemory(pool=pool)
    group = ground.topic.group()
    handed = []

    class Box:
        leases = False
        put = handed.append

    group.waiting[Box()] = 1
    ground.append(large())
    assert handed == []
    group.load()
    assert told(handed) == [0]


def test_looking_waits_for_what_is_unpacked(pool):
    ground = RecordsInMemory(pool=pool)
    ground.append(large())
    ground.publish(b"9999 behind")
    other = gevent.spawn(lambda: None)
    assert told(ground.topic.peek("nobody", 1 << 20)) == [*range(COUNT), 9999]
    assert other.ready()
    assert ground.disk.held_bytes == 0
    group = ground.topic.group()
    group.seek(lambda _log: COUNT - 2)
    assert told(group.peek(9, 1 << 20)) == [COUNT - 2, COUNT - 1, 9999]


def test_a_group_that_goes_elsewhere_does_not_wait(pool):
    ground = RecordsInMemory(pool=pool)
    group = ground.topic.group()
    ground.append(large())
    ground.publish(b"behind")
    assert group.take(9, 1 << 20) is None
    waiting = gevent.spawn(group.load)
    gevent.sleep(0)
    group.seek(lambda _log: COUNT)
    assert (group.is_unready, ground.take().bodies()) == (False, [b"behind"])
    waiting.join()
    assert ground.disk.held_bytes == 0


@pytest.mark.parametrize("looks", [False, True])
def test_what_goes_while_it_is_unpacked_is_in_nobodys_way(pool, looks):
    ground = RecordsInMemory(pool=pool)
    group = ground.topic.group()
    ground.append(large())
    ground.publish(b"9999 behind")
    found = []
    waiting = gevent.spawn(lambda: found.extend(ground.topic.peek("nobody", 1 << 20)) if looks else group.load())
    assert group.take(9, 1 << 20) is None
    gevent.sleep(0)
    ground.log.delete_before(COUNT)
    assert told([ground.take()]) == [9999]
    waiting.join()
    assert not looks or told(found)[-1] == 9999 or len(told(found)) < COUNT
    assert ground.disk.held_bytes == 0
    assert ground.disk.stored_bytes == ground.log.kept_bytes


def test_a_group_that_is_removed_while_its_records_are_unpacked(pool):
    ground = RecordsInMemory(pool=pool)
    group = ground.topic.group()
    ground.append(large())
    assert group.take(9, 1 << 20) is None
    ground.topic.forget_group("default")
    other = ground.topic.group("other")
    assert other.take(9, 1 << 20) is None
    other.load()
    assert told([other.take(1, 1)]) == [0]
    assert ground.disk.held_bytes > 0
    ground.topic.forget_group("other")
    assert ground.disk.held_bytes == 0


def test_records_that_cannot_be_unpacked_are_passed_over_after_all(pool):
    ground = RecordsInMemory(pool=pool)
    data = bytearray(large())
    del data[-8:]
    data[8:12] = (len(data) - 12).to_bytes(4, "big")
    ground.append(bytes(data))
    ground.publish(b"behind")
    assert ground.take_all() == [b"behind"]


def test_what_a_thread_cannot_unpack_for_want_of_a_library_waits(pool, monkeypatch):
    ground = RecordsInMemory(pool=pool)
    group = ground.topic.group()
    values = [random_bytes(at) for at in range(COUNT)]
    with monkeypatch.context() as context:
        data = batch_of(*values, compression=2)
        assert len(data) > UNPACKED_AT_ONCE
        context.setitem(sys.modules, "cramjam", None)
        ground.append(data)
        assert ground.take() is None
        assert (group.is_unready, group.backlog) == (False, COUNT)
    assert ground.take_all() == values


def random_bytes(seed):
    return Random(seed).randbytes(SIZE)


# --- looking for a record


def test_the_newest_record_is_looked_for_from_the_end(monkeypatch):
    ground = RecordsInMemory()
    for number in range(20):
        ground.append(batch_of(b"a", b"b", time_ms=5000 + number))
    looked = []
    newest_ms = Piece.newest_ms
    monkeypatch.setattr(Piece, "newest_ms", property(lambda each: looked.append(each.offset) or newest_ms.fget(each)))
    assert ground.log.newest_record() == (39, 5020)
    assert looked == [38]


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ([1, 3, 2], (1, 3)),
        ([3, 3, 3], (0, 3)),
        ([3, 1, 3], (0, 3)),
        ([-1, -1], (0, -1)),
        ([3, None], (1, None)),
        ([], None),
    ],
)
def test_the_newest_record_is_the_first_of_those(ground, times, found):
    for time_ms in times:
        if time_ms is None:
            ground.publish(b"line")
        else:
            ground.append(batch_of(b"a", time_ms=time_ms))
    if found is not None and found[1] is None:
        found = (found[0], int(ground.disk.clock() * 1000))
    assert ground.log.newest_record() == found


def test_others_run_while_the_newest_of_many_batches_is_looked_for():
    ground = RecordsInMemory()
    data = batch_of(b"a")
    for _ in range(PIECES_AT_ONCE + 1):
        ground.append(data)
    gone = gevent.spawn(ground.log.delete_before, 10)
    assert ground.log.newest_record() in {None, (10, 1000)}
    assert gone.ready(), "others had their turn"
    assert ground.log.newest_record() == (10, 1000)


def test_others_run_while_a_record_is_looked_for_among_many(pool):
    ground = RecordsInMemory(pool=pool)
    count = MANY_RECORDS + 1
    ground.append(numbered(count, time_ms=5000, compression=1))
    for look, found in (
        (partial(ground.log.find_record, 5000 + count - 1), (count - 1, 5000 + count - 1)),
        (partial(ground.log.find_record, 5003), (3, 5003)),
    ):
        other = gevent.spawn(lambda: None)
        assert look() == found
        assert other.ready(), "others had their turn"
    ground.log.delete_before(count - 1)
    other = gevent.spawn(lambda: None)
    assert ground.log.newest_record() == (count - 1, 5000 + count - 1)
    assert other.ready()


def test_what_is_dropped_while_a_record_is_looked_for_is_in_nobodys_way(pool):
    ground = RecordsInMemory(pool=pool)
    for time_ms in (5000, 4000):
        ground.append(numbered(MANY_RECORDS + 1, time_ms=time_ms, step_ms=-1))
    ground.log.delete_before(1)
    end = ground.log.end_offset
    gevent.spawn(ground.log.delete_before, end)
    assert ground.log.newest_record() in {None, (1, 4999)}
    assert ground.log.oldest_offset == end


# --- a library that is missing


def test_records_wait_for_the_library_that_unpacks_them(monkeypatch, caplog):
    ground = RecordsInMemory()
    group = ground.topic.group()
    handed = []

    class Box:
        leases = False
        put = handed.append

    group.waiting[Box()] = 1
    data = batch_of(b"a", compression=2)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "cramjam", None)
        assert ground.append(data).offset == 0, "its producer is not told that it was not stored"
        ground.publish(b"b")
        assert (ground.take(), group.peek(9, 99), handed) == (None, [], [])
        assert group.backlog == 2
        assert caplog.text.count("their group waits: they cannot be unpacked: snappy needs a library") == 2, (
            "of the group and of who looked; once"
        )
    ground.publish(b"c")
    assert [batch.bodies() for batch in handed] == [[b"a"]]
    assert ground.take_all() == [b"b", b"c"]


# --- looking


def test_looking_takes_nothing():
    ground = RecordsInMemory()
    ground.append(numbered(2))
    ground.publish(b"c", b"d")
    ground.append(numbered(3))
    ground.append(marker())
    for _ in range(8):
        counts = ground.disk.used_bytes, ground.disk.stored_bytes, ground.disk.held_bytes, ground.log.low_place
        seen = [body for batch in ground.topic.peek("nobody", 100) for body in batch.bodies()]
        assert seen == [b"0", b"1", b"c", b"d", b"0", b"1", b"2"]
        assert counts == (
            ground.disk.used_bytes,
            ground.disk.stored_bytes,
            ground.disk.held_bytes,
            ground.log.low_place,
        )
        ground.take(most=1)


# --- leases


def test_a_record_that_nobody_finishes_is_buried_with_all_it_has(make):
    ground = make(max_attempts=2)
    records = [Record(at, 1000, b"key %d" % at, b"body %d" % at, (("name", b"value"),)) for at in range(3)]
    ground.append(marker())
    ground.append(encode_batch(records, compression=1))
    for attempt in (1, 2):
        _, batch = ground.lease(3)
        assert (batch.offset, batch.attempt) == (1, attempt)
        ground.sleep(11)
        if ground.keeps:
            ground.save()
    dead = ground.broker.topics["default.dlq"]
    if ground.keeps:
        dead.partitions[0].wait_until_idle()
    found = [message for batch in dead.peek("nobody", 9) for message in batch.messages()]
    assert [message.body for message in found] == [b"body 0", b"body 1", b"body 2"]
    assert [message.key for message in found] == [b"key 0", b"key 1", b"key 2"]
    assert [message.headers[0] for message in found] == [("name", b"value")] * 3
    assert [dict(message.headers)["dead.id"] for message in found] == [b"1", b"2", b"3"]
    assert ground.take() is None


def test_a_leased_record_is_kept_with_all_it_has_when_its_segment_goes(tmp_path):
    ground = RecordsOnDisk(tmp_path, segment_bytes=300)
    try:
        record = Record(0, 1000, b"key", b"body", (("name", b"value"),))
        ground.append(encode_batch([record, Record(1, 1001, None, b"done")], compression=1))
        _, batch = ground.lease(1)
        for number in range(6):
            ground.append(marker())
            ground.publish(b"%d" % number * 100)
        group = ground.topic.group()
        while taken := ground.take(most=1):
            group.done(taken)
        ground.look()
        ground.save()
        ground.look()
        assert ground.log.oldest_offset > 2, "its segment is gone"
        ground.restart()
        batch = ground.take()
        (message,) = batch.messages()
        assert (message.offset, message.time_ms, message.key, message.body, message.headers) == record
        assert batch.attempt == 2
    finally:
        ground.disk.close()
