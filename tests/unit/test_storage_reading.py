"""What is not in memory any more is read from the disk: in order, within a budget, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os

import gevent
import pytest

from gstream.errors import DiskError
from gstream.header import unpack_header
from gstream.mailbox import Mailbox
from gstream.seeking import seek
from gstream.storage.reading import IDLE_SECONDS, READ_BYTES, stored_part
from tests.unit.disk_ground import NEVER, disk_grounds, until
from tests.unit.records_ground import batch_of

SMALL = 1 << 20
"""An engine of so many bytes has 128 KiB for its newest messages, and as much for what is read."""


@pytest.fixture
def make(tmp_path):
    with disk_grounds(tmp_path, max_bytes=SMALL, sync_seconds=NEVER) as make:
        yield make


def fill(ground, count, size=100):
    """So many messages, none of which is in memory afterwards."""
    bodies = [(b"%d:" % number).ljust(size, b"x") for number in range(count)]
    for first in range(0, count, 500):
        ground.publish(*bodies[first : first + 500])
    ground.restart()
    return bodies


def test_a_backlog_larger_than_memory_comes_in_order_and_within_the_budget(make):
    ground = make()
    bodies = [b"%d:" % number + bytes(200) for number in range(20_000)]
    for first in range(0, len(bodies), 500):
        ground.publish(*bodies[first : first + 500])
    assert ground.disk.cached_bytes < SMALL // 8
    group = ground.topic.group()
    taken = []
    while batch := ground.take(most=700):
        group.done(batch)
        taken += batch.bodies()
        assert ground.disk.reading.used_bytes <= 2 * READ_BYTES
    assert taken == bodies
    assert ground.disk.reading.used_bytes == 0
    assert ground.files.read_bytes < 2 * sum(map(len, bodies)), "everything is read about once"


def test_it_goes_on_with_what_is_in_memory(make):
    ground = make()
    bodies = fill(ground, 100)
    more = [b"more %d" % number for number in range(100)]
    ground.publish(*more)
    assert ground.log.first_offset == 100
    assert ground.take_all() == bodies + more
    reads = ground.files.counts["read"]
    ground.publish(b"last")
    assert ground.take_all() == [b"last"]
    assert ground.files.counts["read"] == reads


def test_what_is_published_while_it_is_behind_comes_last(make):
    ground = make()
    bodies = fill(ground, 5_000)
    taken = []
    for number in range(100):
        ground.publish(b"new %d" % number)
        taken += ground.take(most=20).bodies()
    taken += ground.take_all()
    assert taken == bodies + [b"new %d" % number for number in range(100)]


@pytest.mark.parametrize("max_bytes", [SMALL, 16 * SMALL])
def test_many_groups_at_different_places_and_nobody_starves(make, max_bytes):
    ground = make(max_bytes=max_bytes)
    count, groups = 8_000, 200
    bodies = fill(ground, count, size=150)
    names = [f"g{number}" for number in range(groups)]
    starts = {name: number * 37 % (count - 60) for number, name in enumerate(names)}
    for name in names:
        ground.topic.group(name).seek(lambda _log, name=name: starts[name])
    got = {name: [] for name in names}
    most = 0

    def consume(name):
        while len(got[name]) < 50:
            batch = ground.take(name, 5)
            got[name] += batch.bodies()
            gevent.sleep(0)

    def keep_time():
        nonlocal most
        while not all(greenlet.ready() for greenlet in greenlets):
            most = max(most, ground.disk.reading.used_bytes)
            ground.sleep(IDLE_SECONDS / 2)
            gevent.sleep(0.001)

    greenlets = [gevent.spawn(consume, name) for name in names]
    keep_time()
    for name in names:
        assert got[name] == bodies[starts[name] : starts[name] + len(got[name])]
    assert most <= max(max_bytes // 8, 2 * READ_BYTES)


def test_who_does_not_read_makes_room_for_who_waits(make):
    ground = make()
    bodies = fill(ground, 10_000)
    idle = [f"idle{number}" for number in range(5)]
    for name in idle:
        waiting = gevent.spawn(ground.take, name, 1)
        while not waiting.ready():
            ground.sleep(IDLE_SECONDS)
            gevent.sleep(0.001)
        assert waiting.get().bodies() == bodies[:1]
    for name in idle:
        waiting = gevent.spawn(ground.take, name, 1)
        while not waiting.ready():
            ground.sleep(IDLE_SECONDS)
            gevent.sleep(0.001)
        assert waiting.get().bodies() == bodies[1:2], "and goes on where it was"


def test_records_that_become_much_more_are_read_in_parts(make):
    ground = make()
    ground.topic.make_log()
    count, size = 8000, 1000
    values = [(b"%d:" % number).ljust(size, b"x") for number in range(count)]
    data = batch_of(*values, compression=1)
    assert len(data) < READ_BYTES < count * size // 15
    ground.topic.append_records(0, data, unpack_header(data)).commit.wait()
    ground.publish(b"behind")
    parts = []
    reading = ground.disk.reading
    while batch := ground.take(most=100):
        ground.topic.group().done(batch)
        parts += batch.bodies()
        assert reading.used_bytes <= 2 * (READ_BYTES + 2 * size) + 16 * count // 15
    assert parts == [*values, b"behind"]
    assert reading.used_bytes == 0
    opened = [len(batch.data) for batch in ground.log.files.read(count - 10, READ_BYTES)]
    assert opened[0] < 10 * (size + 20), "it begins where it is asked for"
    (part,) = ground.log.files.read(3, 1)
    assert (part.offset, part.bodies()[0]) == (3, values[3])
    assert part.count == count // 16 + 1, "a sixteenth: the batch is unpacked each time"


def test_what_is_read_counts_with_its_times(make):
    ground = make()
    ground.topic.make_log()
    data = batch_of(*[b""] * 1000)
    ground.topic.append_records(0, data, unpack_header(data)).commit.wait()
    ground.publish(b"behind")
    ground.take(most=1)
    assert ground.disk.reading.used_bytes > 1000 * (10 + 16)


# --- damage


def damage(ground, offset):
    """Flip a bit in the body of the message that begins with this."""
    directory = f"{ground.path}/topics/default/0"
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        with open(path, "r+b") as file:
            data = file.read()
            at = data.find(b"p%d:" % offset)
            if name.endswith(".log") and at >= 0:
                file.seek(at + 5)
                file.write(bytes([data[at + 5] ^ 1]))
                return
    raise AssertionError("there is no such message")


def frames(ground, count, size):
    """So many messages, each in a frame of its own."""
    for number in range(count):
        ground.publish((b"%d:" % number).ljust(size, b"x"))
    return [(b"%d:" % number).ljust(size, b"x") for number in range(count)]


@pytest.mark.parametrize("size", [100, 200_000])
@pytest.mark.parametrize("damaged", [0, 5, 9])
def test_what_cannot_be_read_is_passed_over(make, size, damaged, caplog):
    ground = make(segment_bytes=10 * size)
    bodies = frames(ground, 25, size)
    ground.topic.group()
    ground.save()
    ground.restart()
    damage(ground, damaged)
    del bodies[damaged]
    group = ground.topic.group()
    assert ground.take_all() == bodies
    assert group.backlog == 0
    ground.save()
    (reader,) = ground.log.readers
    assert reader.progress.low == 25, "nobody waits for it any more"
    assert any(
        "damaged" in record.getMessage().lower() or "crc" in record.getMessage().lower() for record in caplog.records
    )


def test_damage_between_messages_that_were_done_and_others(make):
    ground = make(segment_bytes=2000)
    bodies = frames(ground, 40, 100)
    consumer, _ = ground.lease(20)
    group = ground.topic.group()
    assert group.acknowledge(consumer, [3, 4, 5, 9, 10, 11]) == []
    ground.save()
    ground.restart()
    for offset in (4, 10, 12):
        damage(ground, offset)
    group = ground.topic.group()
    attempts = []
    while batch := ground.take():
        attempts += [(message.body, batch.attempt) for message in batch.messages()]
        group.done(batch)
    gone = {3, 4, 5, 9, 10, 11, 12}
    assert attempts == [(bodies[each], 2 if each < 20 else 1) for each in range(40) if each not in gone]
    assert group.backlog == 0
    ground.save()
    ground.restart()
    assert ground.take_all() == []


def test_peeking_passes_over_damage_too(make):
    ground = make(segment_bytes=2000)
    bodies = frames(ground, 30, 100)
    ground.restart()
    damage(ground, 7)
    del bodies[7]
    assert [body for batch in ground.topic.peek("default", 100) for body in batch.bodies()] == bodies


def test_nothing_can_be_read_at_all(make):
    ground = make(segment_bytes=1000)
    frames(ground, 20, 100)
    ground.topic.group()
    ground.save()
    ground.restart()
    for offset in range(20):
        damage(ground, offset)
    assert ground.topic.peek("default", 100) == []
    assert ground.take_all() == []
    ground.publish(b"new")
    assert ground.take_all() == [b"new"]


# --- errors


def test_an_error_is_said_to_who_asks_and_it_works_again_later(make, capsys):
    ground = make()
    bodies = fill(ground, 100)
    ground.files.errors["read"] = errno.EIO
    with pytest.raises(DiskError, match="Input/output error"):
        ground.take()
    with pytest.raises(DiskError, match="Input/output error"):
        ground.take()
    with pytest.raises(DiskError, match="Input/output error"):
        ground.topic.peek("default", 10)
    ground.files.errors.clear()
    with pytest.raises(DiskError):
        ground.take()
    ground.sleep(IDLE_SECONDS)
    assert ground.take_all() == bodies
    assert "Traceback" not in capsys.readouterr().err


def test_whoever_waits_gets_it_when_it_can_be_read_again(make):
    ground = make()
    bodies = fill(ground, 100)
    ground.files.errors["read"] = errno.EIO
    group = ground.topic.group()
    got = gevent.spawn(Mailbox().wait, group, 20)
    until(lambda: group._shares[0].error is not None)
    ground.files.errors.clear()
    ground.sleep(IDLE_SECONDS)
    assert got.get().bodies() == bodies[:1]


def test_one_group_s_error_is_not_the_others(make):
    ground = make()
    bodies = fill(ground, 100)
    ground.publish(b"new")
    ground.topic.group("at the end").seek(lambda _log: 100)
    ground.files.errors["read"] = errno.EIO
    with pytest.raises(DiskError):
        ground.take()
    assert ground.take_all("at the end") == [b"new"]
    ground.files.errors.clear()
    ground.sleep(IDLE_SECONDS)
    assert ground.take_all() == [*bodies, b"new"]


def test_looking_for_a_time_that_cannot_be_read_moves_nothing(make, capsys):
    ground = make(segment_bytes=3000)
    bodies = fill(ground, 100)
    group = ground.topic.group()
    assert ground.take(most=10).bodies() == bodies[:10]
    ground.files.errors["read"] = errno.EIO
    with pytest.raises(DiskError, match="Input/output error"):
        seek(group, "time", ground.now, ground.now)
    ground.files.errors.clear()
    assert ground.take_all() == bodies[10:]
    assert "Traceback" not in capsys.readouterr().err


# --- moving meanwhile


def test_a_group_that_is_moved_while_it_is_read_for(make):
    ground = make()
    bodies = fill(ground, 1000)
    group = ground.topic.group()
    with ground.files.holding("read"):
        taking = gevent.spawn(ground.take)
        ground.files.until_held("read")
        assert group.seek(lambda _log: 500) == [500]
        gevent.idle()
    taken = taking.get().bodies()
    assert taken + ground.take_all() == bodies[500:]


def test_a_group_that_is_removed_while_it_is_read_for(make):
    ground = make()
    bodies = fill(ground, 1000)
    reading, came = ground.disk.reading, []
    loaded = reading._loaded
    reading._loaded = lambda *what: came.append(loaded(*what))
    with ground.files.holding("read"):
        group = ground.topic.group("goes")
        assert group.take(1, 0) is None
        ground.files.until_held("read")
        waiting = gevent.spawn(group.load)
        gevent.idle()
        ground.topic.forget_group("goes")
        waiting.get()
        assert (reading.used_bytes, came) == (0, [])
    until(lambda: came)
    assert reading.used_bytes == 0, "what comes too late counts nothing"
    assert ground.take_all("goes") == bodies, "one of that name is a new one"


def test_moving_to_and_fro(make):
    ground = make(segment_bytes=20_000)
    bodies = fill(ground, 3000)
    group = ground.topic.group()
    for offset in (2999, 0, 1500, 10, 2000, 1999, 3000):
        assert group.seek(lambda _log, offset=offset: offset) == [offset]
        batch = ground.take(most=1)
        assert (batch.bodies() if batch else []) == bodies[offset : offset + 1]
        assert group.backlog == 3000 - min(offset + 1, 3000)


def test_moving_to_a_time(make):
    ground = make(segment_bytes=2000)
    times = {}
    for number in range(60):
        ground.now += 10
        ground.publish(b"%d" % number * 20)
        times[number] = ground.now
    ground.restart()
    group = ground.topic.group()
    for number in (0, 1, 17, 40, 59):
        assert seek(group, "time", times[number], ground.now) == [number]
        assert seek(group, "time", times[number] - 9, ground.now) == [number]
        assert ground.take(most=1).offset == number
    assert seek(group, "time", times[59] + 1, ground.now) == [60]
    assert seek(group, "ago", 1e9, ground.now) == [0]
    assert seek(group, "before-end", 3, ground.now) == [57]


# --- looking


def test_peeking_at_what_is_on_disk_takes_nothing(make):
    ground = make(segment_bytes=20_000)
    bodies = fill(ground, 1000)
    ground.publish(b"in memory")
    for _ in range(2):
        seen = ground.topic.peek("new", 700)
        assert [body for batch in seen for body in batch.bodies()] == bodies[:700]
    assert sum(batch.count for batch in ground.topic.peek("new", 5000)) == 1001
    ground.topic.group().seek(lambda _log: 998)
    seen = ground.topic.peek("default", 10)
    assert [body for batch in seen for body in batch.bodies()] == [*bodies[998:], b"in memory"]
    assert ground.take_all() == [*bodies[998:], b"in memory"]


def test_closing_while_something_is_read(make):
    ground = make()
    bodies = fill(ground, 1000)
    group = ground.topic.group()
    with ground.files.holding("read"):
        assert group.take(1, 0) is None
        ground.files.until_held("read")
        closing = gevent.spawn(ground.disk.close)
        gevent.idle()
    closing.get()
    ground.open()
    assert ground.take_all() == bodies


def test_only_what_is_stored_is_handed_on(make):
    ground = make()
    ground.publish(b"a", b"b", b"c")
    ground.publish(b"d", b"e")
    for end in range(6):
        batches = stored_part(ground.log.files.read(0, 1 << 20), end)
        assert sum(batch.count for batch in batches) == end
    assert [batch.bodies() for batch in batches] == [[b"a", b"b", b"c"], [b"d", b"e"]]
