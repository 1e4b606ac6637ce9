from __future__ import annotations

import pytest

from gstream.batch import Batch, pack
from gstream.errors import FullError
from gstream.header import unpack_header
from gstream.murmur import murmur2
from gstream.partitions import Partitions
from gstream.storage.memory import Memory
from gstream.storage.piece import RECORDS_PIECE_BYTES
from tests.unit.records_ground import batch_of, marker


class WaitingGroup:
    """A group whose consumers wait, or not."""

    def __init__(self, waiting):
        self.waiting = waiting
        self.woken = 0

    def wake(self):
        self.woken += 1


def append(topic, partition, data):
    return topic.append_records(partition, data, unpack_header(data))


@pytest.fixture
def topic():
    return Partitions("t", Memory(10_000), 3)


def test_there_are_as_many_as_are_asked_for(topic):
    assert [log.partition for log in topic.partitions] == [0, 1, 2]
    assert topic.several
    assert not Partitions("t", Memory(1), 1).several


def test_records_go_where_they_are_sent(topic):
    assert [append(topic, partition, batch_of(b"a", b"b")).offset for partition in (2, 0, 2)] == [0, 0, 2]
    assert [log.end_offset for log in topic.partitions] == [2, 0, 4]
    assert (topic.message_count, topic.published_count) == (6, 6)
    assert topic.kept_bytes == 3 * (len(batch_of(b"a", b"b")) + RECORDS_PIECE_BYTES)


def test_what_is_there_already_or_no_message_is_not_published(topic):
    data = batch_of(b"a", producer_id=7, producer_epoch=0, base_sequence=0)
    append(topic, 0, data)
    told = []
    topic.watchers[lambda: told.append(1)] = None
    assert append(topic, 0, data).is_duplicate
    assert told == []
    append(topic, 0, marker())
    assert told == [1]
    assert topic.published_count == 1


def test_what_has_no_room_is_refused(topic):
    with pytest.raises(FullError, match="no room within 10000 bytes, the server's --max-memory; set a limit"):
        append(topic, 0, batch_of(b"x" * 10_000))
    assert topic.published_count == 0


def test_that_records_are_refused_is_logged_once_a_minute(topic, caplog, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(topic._engine, "clock", lambda: now)
    for seconds in (0, 59.0, 2.0, -100.0):
        now += seconds
        with pytest.raises(FullError):
            append(topic, 0, batch_of(b"x" * 10_000))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert told[0].startswith("records are refused: no room within 10000 bytes")


def test_who_waits_is_told(topic):
    groups = topic.groups["waits"], topic.groups["works"] = WaitingGroup(True), WaitingGroup(False)
    append(topic, 1, batch_of(b"a"))
    assert [group.woken for group in groups] == [1, 0]


def test_a_watcher_may_go_while_it_is_told(topic):
    told = []

    def once():
        told.append("once")
        del topic.watchers[once]

    topic.watchers[once] = None
    topic.watchers[lambda: told.append("always")] = None
    for _ in range(2):
        append(topic, 0, batch_of(b"a"))
    assert told == ["once", "always", "always"]


def test_messages_without_a_key_take_turns(topic):
    for body in (b"a", b"b", b"c", b"d"):
        partition = topic._choose_partition(None)
        topic._append(partition, pack(body), 1, Batch)
    assert [log.end_offset for log in topic.partitions] == [2, 1, 1]


@pytest.mark.parametrize("key", [b"", b"key", b"customer 7"])
def test_a_key_has_its_partition(topic, key):
    assert {topic._choose_partition(key) for _ in range(3)} == {(murmur2(key) & 0x7FFFFFFF) % 3}
    assert Partitions("t", Memory(1), 1)._choose_partition(key) == 0
