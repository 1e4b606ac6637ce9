"""Record batches in logs of both engines."""

from __future__ import annotations

import errno
from functools import partial

import pytest
from crc32c import crc32c

from gstream.errors import DiskError, FullError
from gstream.header import unpack_header
from gstream.record import Record
from gstream.records import encode_batch
from gstream.storage.piece import OPENED_BYTES, RECORDS_PIECE_BYTES
from gstream.storage.placed import OffsetOutOfRangeError
from gstream.storage.producers import OutOfOrderError, StaleEpochError
from tests.unit.disk_ground import until
from tests.unit.records_ground import (
    NOW_MS,
    RecordsInMemory,
    RecordsOnDisk,
    batch_of,
    headers_of,
    marker,
    records_of,
)

IDEMPOTENT = {"producer_id": 7, "producer_epoch": 0}


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
        ground.files.errors.clear()
        ground.disk.close()


@pytest.fixture
def ground(make):
    return make()


@pytest.fixture
def on_disk(tmp_path):
    grounds = []

    def make(**settings):
        grounds.append(RecordsOnDisk(tmp_path, **settings))
        return grounds[-1]

    yield make
    for ground in grounds:
        ground.files.errors.clear()
        ground.disk.close()


def moved(data, offset):
    """A client's batch as it is to be given back."""
    return offset.to_bytes(8, "big") + data[8:12] + bytes(4) + data[16:]


def broken(data):
    """The same batch with records that cannot be read, and the right checksum."""
    data = data[:61] + b"\xff" * (len(data) - 61)
    return data[:17] + crc32c(data[21:]).to_bytes(4, "big") + data[21:]


# --- storing and fetching


def test_a_batch_is_given_back_as_it_came(ground):
    first, second = batch_of(b"a", b"b"), batch_of(b"c", b"d", b"e", compression=1)
    assert [ground.append(each).offset for each in (first, second)] == [0, 2]
    assert ground.log.end_offset == 5
    assert ground.fetch() == moved(first, 0) + moved(second, 2)
    assert ground.values() == [(0, b"a"), (1, b"b"), (2, b"c"), (3, b"d"), (4, b"e")]
    assert (ground.topic.message_count, ground.topic.published_count) == (5, 5)


def test_a_clients_offset_and_epoch_do_not_matter(ground):
    data = batch_of(b"a")
    ground.append(batch_of(b"before"))
    ground.append(moved(data, 4711)[:12] + b"\0\0\0\x09" + data[16:])
    assert ground.fetch(1) == moved(data, 1)


def test_views_of_a_buffer_are_taken(ground):
    data = batch_of(b"a")
    buffer = memoryview(b"x" * 9 + data + b"y")
    view = buffer[9:-1]
    placed = ground.topic.append_records(0, view, unpack_header(view))
    if placed.commit is not None:
        placed.commit.wait()
    assert ground.fetch() == moved(data, 0)


@pytest.mark.parametrize("offset", [2, 3, 4])
def test_the_batch_that_holds_an_offset_is_given_whole(ground, offset):
    ground.append(batch_of(b"a", b"b"))
    ground.append(batch_of(b"c", b"d", b"e"))
    assert [header.base_offset for header in headers_of(ground.fetch(offset))] == [2]


def test_a_fetch_has_a_limit_and_gives_at_least_one_batch(ground):
    batches = [batch_of(b"%d" % number * 100) for number in range(5)]
    for each in batches:
        ground.append(each)
    size = len(batches[0])
    for limit, count in ((0, 1), (1, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2), (5 * size, 5), (9 * size, 5)):
        assert len(headers_of(ground.fetch(max_bytes=limit))) == count
    assert len(ground.fetch_all(max_bytes=1)) == 5 * size


def test_nothing_is_given_that_begins_behind_an_end(ground):
    for value in (b"a", b"b", b"c"):
        ground.append(batch_of(value, value))
    assert [header.base_offset for header in headers_of(ground.fetch(end=4))] == [0, 2]
    assert [header.base_offset for header in headers_of(ground.fetch(end=3))] == [0, 2]
    assert ground.fetch(4, end=4) == b""
    ground.publish(b"d", b"e", b"f")
    assert ground.values(6, end=6) == []


def test_there_is_nothing_at_the_end(ground):
    assert ground.fetch() == b""
    ground.append(batch_of(b"a"))
    assert ground.fetch(1) == b""


@pytest.mark.parametrize("offset", [-1, 2, 1 << 40])
def test_an_offset_that_is_not_there_is_refused(ground, offset):
    ground.append(batch_of(b"a"))
    with pytest.raises(OffsetOutOfRangeError, match=f"{offset} is not within 0 to 1"):
        ground.log.read_records(offset, 100)


def test_what_does_not_fit_is_refused_as_a_whole(make):
    ground = make(max_bytes=2000)
    data = batch_of(b"x" * 3000, **IDEMPOTENT, base_sequence=0)
    with pytest.raises(FullError, match="no room within 2000 bytes"):
        ground.append(data)
    assert (ground.log.end_offset, ground.log.next_offset, ground.topic.published_count) == (0, 0, 0)
    assert ground.append(batch_of(b"x", **IDEMPOTENT, base_sequence=0)).offset == 0


def test_a_transaction_can_be_ended_although_there_is_no_room(make):
    ground = make(max_bytes=2000)
    ground.append(batch_of(b"x" * 500, **IDEMPOTENT, base_sequence=0, is_transactional=True))
    ground.disk.held_bytes += 2000
    if ground.keeps:
        ground.disk.waiting_bytes += 2000
    with pytest.raises(FullError):
        ground.append(batch_of(b"x"))
    ground.append(marker())
    assert ground.log.stable_offset == 2


# --- among messages of other kinds


def test_messages_of_other_kinds_are_fetched_as_records(ground):
    ground.publish(b"a", b"", b"c")
    ground.topic.publish_bodies([b"d\ne"], b"key")
    ground.append(batch_of(b"f"))
    ground.publish(b"g")
    assert ground.values() == [(0, b"a"), (1, b""), (2, b"c"), (3, b"d\ne"), (4, b"f"), (5, b"g")]
    records = records_of(ground.fetch())
    assert [record.key for record in records] == [None, None, None, b"key", None, None]
    assert [record.time_ms for record in records] == [*[NOW_MS] * 4, 1000, NOW_MS]


def test_a_fetch_may_begin_in_the_middle_of_lines(ground):
    ground.publish(*[b"%d" % number for number in range(10)])
    assert ground.values(7) == [(7, b"7"), (8, b"8"), (9, b"9")]
    assert headers_of(ground.fetch(7))[0].base_offset == 7


def test_many_lines_are_fetched_in_parts(ground):
    bodies = [b"%05d" % number * 100 for number in range(2000)]
    for at in range(0, 2000, 100):
        ground.publish(*bodies[at : at + 100])
    found = records_of(ground.fetch_all(max_bytes=200_000))
    assert [record.value for record in found] == bodies
    assert len(ground.fetch(max_bytes=200_000)) <= 200_000


def test_lines_that_were_published_one_at_a_time_become_one_batch(ground):
    for number in range(20):
        ground.publish(b"%d" % number)
        ground.sleep(1)
    (header,) = headers_of(ground.fetch())
    assert (header.base_offset, header.records) == (0, 20)
    assert [record.time_ms for record in records_of(ground.fetch())] == [NOW_MS + 1000 * at for at in range(20)]
    assert ground.values(13) == [(at, b"%d" % at) for at in range(13, 20)]


def test_what_was_converted_is_not_converted_again(ground):
    ground.publish(b"a" * 20_000)
    ground.publish(b"b" * 20_000)
    first = ground.fetch()
    used = ground.disk.converted.used_bytes
    assert used > 40_000
    assert ground.fetch() == first
    assert ground.disk.converted.used_bytes == used


# --- consumers of the line protocol


def test_records_are_consumed_as_messages(ground):
    ground.publish(b"a")
    ground.append(encode_batch([Record(0, 5, b"k", b"b", (("h", b"v"), ("n", None))), Record(1, 7, None, None)]))
    ground.publish(b"c")
    found = []
    while batch := ground.take():
        found += batch.messages()
    assert [(each.offset, each.body, each.key, each.headers) for each in found] == [
        (0, b"a", None, ()),
        (1, b"b", b"k", (("h", b"v"), ("n", b""))),
        (2, b"", None, ()),
        (3, b"c", None, ()),
    ]
    assert [each.time_ms for each in found] == [NOW_MS, 5, 7, NOW_MS]


def test_records_are_taken_in_parts(ground):
    ground.append(batch_of(b"a", b"bb", b"ccc", b"d", compression=1))
    ground.append(batch_of(b"e"))
    assert ground.take(most=1).bodies() == [b"a"]
    assert ground.take(most=9, max_bytes=1).bodies() == [b"bb"]
    assert ground.topic.group().backlog == 3
    assert ground.take(most=2).bodies() == [b"ccc", b"d"]
    assert ground.take().bodies() == [b"e"]
    assert ground.take() is None
    assert ground.topic.group().backlog == 0


def test_each_group_gets_all_of_them(ground):
    ground.append(batch_of(b"a", b"b"))
    for group in ("one", "two"):
        assert ground.take(group, most=1).bodies() == [b"a"]
    ground.append(batch_of(b"c"))
    for group in ("one", "two"):
        assert ground.take_all(group) == [b"b", b"c"]


def test_a_group_goes_to_an_offset_within_records(ground):
    ground.append(batch_of(b"a", b"b", b"c"))
    ground.publish(b"d")
    group = ground.topic.group()
    for offset, left in ((1, [b"b", b"c", b"d"]), (2, [b"c", b"d"]), (3, [b"d"]), (0, [b"a", b"b", b"c", b"d"])):
        group.seek(lambda _log, offset=offset: offset)
        assert ground.take_all() == left


def test_records_can_be_looked_at(ground):
    ground.append(batch_of(b"a", b"b", b"c"))
    ground.append(marker(commits=True))
    ground.publish(b"d")
    for offset in range(3):
        seen = ground.log.peek(offset, 2, 1000)
        assert [message.offset for batch in seen for message in batch.messages()] == [offset, [1, 2, 4][offset]]
    assert [batch.bodies() for batch in ground.topic.peek("nobody", 10)] == [[b"a", b"b", b"c"], [b"d"]]
    assert ground.take_all() == [b"a", b"b", b"c", b"d"]


def test_a_leased_record_comes_back(ground):
    ground.append(batch_of(b"a", b"b"))
    _, batch = ground.lease(most=2)
    assert batch.bodies() == [b"a", b"b"]
    assert batch.part(1, 1).bodies() == [b"b"]
    group = ground.topic.group()
    ground.sleep(11)
    group.wake()
    assert ground.topic.unfinished_count == 2


def test_the_end_of_a_transaction_is_no_message(ground):
    ground.append(batch_of(b"a", **IDEMPOTENT, base_sequence=0, is_transactional=True))
    ground.append(marker())
    ground.append(marker(8))
    ground.publish(b"b")
    ground.append(marker(9))
    assert ground.take_all() == [b"a", b"b"]
    assert ground.take() is None
    assert ground.topic.group().backlog == 0
    assert ground.topic.published_count == 2
    assert ground.log.end_offset == 5


def test_records_that_cannot_be_read_are_passed_over(ground):
    ground.append(batch_of(b"a"))
    data = broken(batch_of(b"b", b"c"))
    ground.append(data)
    ground.append(batch_of(b"d"))
    assert ground.take_all() == [b"a", b"d"]
    assert ground.fetch(1, max_bytes=1) == moved(data, 1), "whoever fetches them gets them as they are"
    assert [batch.bodies() for batch in ground.log.peek(0, 10, 1000)] == [[b"a"], [b"d"]]


def test_who_waits_is_told(ground):
    told = []
    ground.topic.watchers[partial(told.append, "a")] = None

    def leave():
        told.append("b")
        del ground.topic.watchers[leave]

    ground.topic.watchers[leave] = None
    ground.append(batch_of(b"a"))
    assert told == ["a", "b"]
    ground.append(marker())
    assert told == ["a", "b", "a"]
    ground.publish(b"c")
    assert told == ["a", "b", "a", "a"]
    ground.broker.remove("default")
    assert told == ["a", "b", "a", "a", "a"]


# --- times


def test_what_clients_say_of_times_does_not_change_those_of_messages(ground):
    for time_ms in (0, 1 << 52, 5):
        ground.append(batch_of(b"r", time_ms=time_ms))
        ground.publish(b"m")
        ground.sleep(1)
    times = [record.time_ms for record in records_of(ground.fetch())]
    assert times == [0, NOW_MS, 1 << 52, NOW_MS + 1000, 5, NOW_MS + 2000]


def test_a_record_is_found_by_its_time(ground):
    ground.append(batch_of(b"a", b"b", b"c", time_ms=5000, step_ms=-1000))
    ground.append(batch_of(b"d", b"e", b"f", time_ms=100, step_ms=4000, compression=1))
    ground.publish(b"g")
    for time_ms, found in (
        (0, (0, 5000)),
        (5000, (0, 5000)),
        (5001, (5, 8100)),
        (8100, (5, 8100)),
        (8101, (6, NOW_MS)),
        (NOW_MS, (6, NOW_MS)),
        (NOW_MS + 1, None),
    ):
        assert ground.log.find_record(time_ms) == found
    assert ground.log.newest_record() == (6, NOW_MS)
    ground.append(batch_of(b"h", b"i", b"j", time_ms=NOW_MS + 5, step_ms=0))
    assert ground.log.newest_record() == (7, NOW_MS + 5)


def test_there_is_no_time_where_nothing_is(ground):
    assert (ground.log.find_record(0), ground.log.newest_record()) == (None, None)


def test_a_time_in_records_that_cannot_be_read(ground):
    ground.append(broken(batch_of(b"a", b"b", time_ms=100)))
    assert ground.log.find_record(50) == (0, 101)


def test_groups_go_to_a_batch_by_its_time(ground):
    ground.append(batch_of(b"a", b"b", time_ms=100))
    ground.append(batch_of(b"c", b"d", time_ms=200))
    assert [ground.log.find_time(time_ms) for time_ms in (100, 101, 102, 201, 202)] == [0, 0, 2, 2, 4]


# --- producers


def test_a_batch_that_is_sent_again_is_not_stored_again(ground):
    data = batch_of(b"a", b"b", **IDEMPOTENT, base_sequence=0)
    assert not ground.append(data).is_duplicate
    placed = ground.append(data)
    assert (placed.offset, placed.is_duplicate, placed.commit) == (0, True, None)
    assert ground.log.end_offset == ground.topic.published_count == 2
    with pytest.raises(OutOfOrderError):
        ground.append(batch_of(b"d", **IDEMPOTENT, base_sequence=3))
    ground.append(batch_of(b"c", **IDEMPOTENT, base_sequence=2))
    with pytest.raises(StaleEpochError):
        ground.append(batch_of(b"c", producer_id=7, producer_epoch=-1, base_sequence=2))
    assert ground.values() == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_what_is_stable_ends_at_an_open_transaction(ground):
    ground.append(batch_of(b"a"))
    ground.append(batch_of(b"b", b"c", **IDEMPOTENT, base_sequence=0, is_transactional=True))
    ground.publish(b"d")
    log = ground.log
    assert (log.stable_offset, log.end_offset) == (1, 4)
    assert [offset for offset, _ in ground.values(end=log.stable_offset)] == [0]
    ground.append(marker(commits=False))
    assert (log.stable_offset, log.end_offset) == (5, 5)
    assert log.aborted(0, 5) == [(7, 1)]
    assert log.aborted(0, 1) == []


# --- deleting


def test_what_is_deleted_is_gone_and_the_rest_stays(ground):
    for number in range(3):
        ground.append(batch_of(b"%d" % (3 * number), b"%d" % (3 * number + 1), b"%d" % (3 * number + 2)))
    ground.publish(b"9", b"10")
    log = ground.log
    for offset in (1, 4, 6, 10):
        commit = log.delete_before(offset)
        if commit is not None:
            commit.wait()
        assert (log.oldest_offset, log.end_offset) == (offset, 11)
        assert ground.topic.message_count == 11 - offset
        with pytest.raises(OffsetOutOfRangeError):
            log.read_records(offset - 1, 100)
        assert [at for at, _ in ground.values(offset) if at >= offset] == list(range(offset, 11))
        assert next(message.offset for batch in log.peek(0, 99, 999) for message in batch.messages()) == offset
        assert log.find_time(0) == offset
    assert log.delete_before(10) is None
    log.delete_before(11)
    assert (log.oldest_offset, ground.topic.message_count) == (11, 0)
    ground.publish(b"11")
    assert ground.values(11) == [(11, b"11")]


def test_groups_go_on_behind_what_is_deleted(ground):
    ground.append(batch_of(b"a", b"b", b"c", b"d"))
    assert ground.take("one", most=1).bodies() == [b"a"]
    assert ground.take("two", most=3).bodies() == [b"a", b"b", b"c"]
    ground.log.delete_before(2)
    assert ground.take_all("one") == [b"c", b"d"]
    assert ground.take_all("two") == [b"d"]
    assert ground.take_all("three") == [b"c", b"d"]


def test_times_of_what_is_deleted_are_not_found(ground):
    ground.append(batch_of(b"a", b"b", b"c", time_ms=900, step_ms=-100))
    ground.log.delete_before(1)
    assert ground.log.find_record(0) == (1, 800)
    assert ground.log.find_record(801) is None
    assert ground.log.newest_record() == (1, 800)


# --- memory only


def test_memory_is_counted_exactly():
    ground = RecordsInMemory(is_log=False)
    memory = ground.disk
    sizes = [len(batch_of(*[b"x" * 10] * count)) + RECORDS_PIECE_BYTES for count in (3, 2)]
    ground.topic.group()
    ground.append(batch_of(*[b"x" * 10] * 3))
    ground.append(batch_of(*[b"x" * 10] * 2))
    ground.publish(b"abc")
    assert memory.used_bytes == memory.stored_bytes == sum(sizes) + 5
    ground.take(most=1)
    assert memory.used_bytes == sum(sizes) + 5, "a batch counts until all of it is taken"
    ground.take(most=2)
    assert memory.used_bytes == memory.stored_bytes == sizes[1] + 5
    ground.take(most=9)
    assert memory.used_bytes == memory.stored_bytes == 5
    ground.take(most=9)
    assert memory.used_bytes == 0
    ground.append(marker())
    ground.append(broken(batch_of(b"x")))
    assert memory.used_bytes > 0
    assert ground.take() is None
    assert memory.used_bytes == 0
    ground.broker.remove("default")
    assert (memory.used_bytes, memory.stored_bytes) == (0, 0)


def test_what_is_unpacked_for_a_group_is_counted():
    ground = RecordsInMemory()
    memory = ground.disk
    for _ in range(2):
        ground.append(batch_of(*[b"x" * 1000] * 100, compression=1))
    for group, count in (("one", 1), ("two", 99)):
        for _ in range(count):
            ground.take(group, 1)
    assert 200_000 < memory.held_bytes <= 2 * (103_000 + OPENED_BYTES)
    ground.take("two", 1)
    assert 100_000 < memory.held_bytes <= 103_000 + OPENED_BYTES
    ground.topic.group("one").seek(lambda _log: 150)
    assert memory.held_bytes == 0
    ground.take("one", 1)
    assert memory.held_bytes > 100_000
    ground.topic.forget_group("one")
    assert memory.held_bytes == 0
    assert len(ground.log.peek(150, 10, 1000)) == 1
    assert memory.held_bytes == 0


def test_deleting_gives_memory_back():
    ground = RecordsInMemory()
    for _ in range(3):
        ground.append(batch_of(b"x"))
    ground.log.delete_before(2)
    assert ground.disk.used_bytes == ground.disk.stored_bytes == len(batch_of(b"x")) + RECORDS_PIECE_BYTES
    ground.log.delete_before(3)
    assert ground.disk.used_bytes == ground.disk.stored_bytes == 0


# --- disk only


def test_records_are_there_after_a_restart(on_disk):
    ground = on_disk(segment_bytes=300)
    for number in range(9):
        ground.append(batch_of(b"%d" % number, **IDEMPOTENT, base_sequence=number, is_transactional=number > 6))
        ground.publish(b"line")
    before = ground.fetch_all()
    assert ground.segment_count() > 3
    ground.restart()
    assert ground.fetch_all() == before
    assert ground.log.stable_offset == 14
    assert ground.append(batch_of(b"8", **IDEMPOTENT, base_sequence=8, is_transactional=True)).offset == 16
    assert ground.append(batch_of(b"5", **IDEMPOTENT, base_sequence=5)).is_duplicate
    with pytest.raises(OutOfOrderError):
        ground.append(batch_of(b"x", **IDEMPOTENT, base_sequence=10))
    assert ground.append(batch_of(b"9", **IDEMPOTENT, base_sequence=9, is_transactional=True)).offset == 18


def test_what_is_deleted_stays_deleted_after_a_restart(on_disk):
    ground = on_disk(segment_bytes=300)
    for number in range(9):
        ground.append(batch_of(b"%d" % number, b"x"))
    count = ground.segment_count()
    ground.log.delete_before(7).wait()
    until(lambda: ground.segment_count() < count)
    ground.restart()
    assert (ground.log.oldest_offset, ground.log.end_offset) == (7, 18)
    assert ground.take("new", most=1).offset == 7


def test_the_files_of_what_is_deleted_go_although_the_server_ended(on_disk):
    ground = on_disk(segment_bytes=300)
    for number in range(9):
        ground.append(batch_of(b"%d" % number, b"x"))
    count = ground.segment_count()
    ground.disk.facts.put("floor/default/0", b"7")
    ground.restart()
    assert ground.log.oldest_offset == 7
    assert ground.segment_count() < count


def test_when_all_is_deleted_the_disk_is_empty(on_disk):
    ground = on_disk()
    ground.append(batch_of(b"a"))
    ground.log.delete_before(1).wait()
    until(lambda: ground.log.kept_bytes == 0)
    ground.restart()
    assert (ground.log.oldest_offset, ground.log.end_offset) == (1, 1)
    assert ground.append(batch_of(b"b")).offset == 1


def test_messages_that_take_the_place_of_lost_ones_are_not_deleted(on_disk):
    ground = on_disk()
    ground.disk.facts.put("floor/default/0", b"5")
    ground.append(batch_of(b"a", b"b"))
    for _ in range(2):
        ground.restart()
        assert ground.log.oldest_offset == 2
    ground.append(batch_of(b"c", b"d", b"e", b"f", b"g"))
    ground.restart()
    assert ground.log.oldest_offset == 2


def test_batches_and_lines_are_written_together_in_their_order(on_disk):
    ground = on_disk(sync_seconds=float("inf"))
    ground.publish(b"first")
    with ground.files.holding("write"):
        held = ground.start_publishing(b"a")
        ground.files.until_held("write")
        commits = []
        for number in range(3):
            ground.start_publishing(b"line %d" % number)
            data = batch_of(b"record %d" % number, **IDEMPOTENT, base_sequence=number)
            placed = ground.topic.append_records(0, data, unpack_header(data))
            commits.append(placed.commit)
            again = ground.topic.append_records(0, data, unpack_header(data))
            assert (again.offset, again.is_duplicate, again.commit) == (placed.offset, True, placed.commit)
        assert (len(set(commits)), ground.log.next_offset, ground.log.end_offset) == (1, 8, 1)
    held.wait()
    commits[0].wait()
    assert ground.files.counts["write"] == 3
    kinds = [b"line", b"record"]
    assert ground.values(2) == [(2 + at, b"%b %d" % (kinds[at % 2], at // 2)) for at in range(6)]


def test_what_was_not_stored_may_be_sent_again(on_disk):
    ground = on_disk()
    ground.append(batch_of(b"a", **IDEMPOTENT, base_sequence=0))
    ground.files.errors["write"] = errno.ENOSPC
    data = batch_of(b"b", **IDEMPOTENT, base_sequence=1)
    with pytest.raises(DiskError):
        ground.append(data)
    assert ground.disk.waiting_bytes == 0
    ground.files.errors.clear()
    placed = ground.append(data)
    assert (placed.offset, placed.is_duplicate) == (1, False)
    assert ground.values() == [(0, b"a"), (1, b"b")]


def test_what_was_stored_after_all_is_known_again(on_disk):
    ground = on_disk()
    ground.append(batch_of(b"a", **IDEMPOTENT, base_sequence=0))
    ground.files.errors["sync"] = errno.EIO
    data = batch_of(b"b", **IDEMPOTENT, base_sequence=1, is_transactional=True)
    with pytest.raises(DiskError):
        ground.append(data)
    ground.files.errors.clear()
    ground.sleep(1.1)
    until(lambda: not ground.log.is_failing)
    assert (ground.log.end_offset, ground.log.stable_offset) == (2, 1)
    placed = ground.append(data)
    assert (placed.offset, placed.is_duplicate, placed.commit) == (1, True, None)
    assert ground.append(batch_of(b"c", **IDEMPOTENT, base_sequence=2)).offset == 2


def test_records_take_no_memory_once_they_are_stored(on_disk):
    ground = on_disk()
    ground.publish(b"line")
    ground.append(batch_of(b"x" * 1000))
    assert (ground.disk.cached_bytes, ground.disk.waiting_bytes) == (0, 0)
    assert ground.log.first_offset == 2


def test_times_of_records_do_not_begin_new_segments(on_disk):
    ground = on_disk(segment_seconds=100)
    for time_ms in (0, 1 << 50, 7, 1 << 52):
        ground.append(batch_of(b"r", time_ms=time_ms))
        ground.publish(b"m")
    assert ground.segment_count() == 1
    ground.restart()
    ground.publish(b"m")
    assert ground.segment_count() == 1
    ground.sleep(101)
    ground.append(batch_of(b"r", time_ms=3))
    assert ground.segment_count() == 2
    ground.sleep(101)
    ground.append(batch_of(b"r", time_ms=3))
    assert ground.segment_count() == 3


def test_a_fetch_reads_no_more_than_it_may(on_disk):
    ground = on_disk()
    for _ in range(20):
        ground.append(batch_of(b"x" * 50_000))
    ground.files.read_bytes = 0
    assert len(headers_of(ground.fetch(3, max_bytes=160_000))) == 3
    assert ground.files.read_bytes <= 160_000 + 2 * 16 * 1024
    fetched = ground.log.read_records(3, 160_000)
    assert len(fetched.chunks) == 1, "what lies side by side is one piece of memory"


def test_a_group_goes_on_after_a_restart_in_the_middle_of_records(on_disk):
    ground = on_disk()
    ground.append(batch_of(b"a", b"b", b"c"))
    ground.append(marker())
    ground.append(batch_of(b"d"))
    group = ground.topic.group()
    group.done(ground.take(most=2))
    ground.save()
    ground.restart()
    assert ground.take_all() == [b"c", b"d"]
    ground.save()
    ground.restart()
    assert ground.take_all() == []
    assert ground.topic.group().backlog == 0


def test_what_is_sent_again_while_it_is_written_is_stored_once(on_disk):
    ground = on_disk()
    data = batch_of(b"a", **IDEMPOTENT, base_sequence=0)
    following = batch_of(b"b", **IDEMPOTENT, base_sequence=1)
    append = partial(ground.topic.append_records, 0)
    ground.append(batch_of(b"before"))
    with ground.files.holding("write"):
        first = append(data, unpack_header(data))
        ground.files.until_held("write")
        waiting = append(following, unpack_header(following))
        again = [append(each, unpack_header(each)) for each in (data, following, data)]
    assert [(each.offset, each.is_duplicate) for each in again] == [(1, True), (2, True), (1, True)]
    assert [each.commit for each in again] == [first.commit, waiting.commit, first.commit]
    waiting.commit.wait()
    assert first.commit.is_done
    placed = append(data, unpack_header(data))
    assert (placed.offset, placed.commit, placed.is_duplicate) == (1, None, True)
    assert ground.values() == [(0, b"before"), (1, b"a"), (2, b"b")]


def test_what_is_sent_again_while_it_cannot_be_written_fails_with_it(on_disk):
    ground = on_disk()
    data = batch_of(b"a", **IDEMPOTENT, base_sequence=0)
    append = partial(ground.topic.append_records, 0, data, unpack_header(data))
    ground.append(batch_of(b"before"))
    with ground.files.holding("write"):
        first = append()
        ground.files.until_held("write")
        again = append()
        ground.files.errors["write"] = errno.ENOSPC
    for placed in (first, again):
        with pytest.raises(DiskError):
            placed.commit.wait()
    ground.files.errors.clear()
    placed = append()
    assert (placed.offset, placed.is_duplicate) == (1, False)
    placed.commit.wait()
    assert ground.values() == [(0, b"before"), (1, b"a")]


def test_what_went_by_a_limit_is_known_as_aborted_no_longer(on_disk):
    ground = on_disk(segment_bytes=200, limit_bytes=1)
    ground.topic.make_log()
    for number in range(20):
        ground.append(batch_of(b"x" * 50, **IDEMPOTENT, base_sequence=number, is_transactional=True))
        ground.append(marker(commits=False))
    ground.look()
    assert ground.log.oldest_offset > 10
    kept = len(ground.log.aborted(0, 40))
    assert 1 <= kept < 10
    assert len(ground.log.producers) == kept + 1, "nothing else is remembered"
    assert ground.log.producers.encode()[20:] == ground.log.files.producers().encode()[20:]
