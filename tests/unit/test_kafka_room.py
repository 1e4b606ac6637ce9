"""Room for requests: bounded, in turn, and given back by those who are killed."""

from __future__ import annotations

import gevent
import pytest

from gstream.kafka.room import Room


@pytest.fixture
def room():
    return Room(100)


def taking(room, size, taken):
    def take():
        room.take(size)
        taken.append(size)

    greenlet = gevent.spawn(take)
    gevent.sleep(0)
    return greenlet


def test_what_fits_is_taken_at_once(room):
    room.take(60)
    room.take(40)
    assert room.used_bytes == 100


def test_who_finds_none_waits(room):
    taken = []
    room.take(60)
    taking(room, 50, taken)
    assert taken == []
    room.give(60)
    gevent.sleep(0)
    assert taken == [50]
    assert room.used_bytes == 50


def test_in_turn_though_a_smaller_one_would_fit(room):
    taken = []
    room.take(60)
    taking(room, 90, taken)
    taking(room, 10, taken)
    assert taken == []
    room.give(60)
    gevent.sleep(0)
    assert taken == [90, 10]


def test_one_request_is_let_in_whatever_its_size(room):
    taken = []
    room.take(1000)
    taking(room, 1, taken)
    assert taken == []
    room.give(1000)
    gevent.sleep(0)
    assert (taken, room.used_bytes) == ([1], 1)


def test_who_is_killed_leaves_the_queue(room):
    taken = []
    room.take(60)
    taking(room, 50, taken).kill()
    taking(room, 41, taken)
    room.give(60)
    gevent.sleep(0)
    assert (taken, room.used_bytes) == ([41], 41)


def test_who_is_killed_in_its_turn_gives_it_back(room):
    taken = []
    room.take(60)
    killed = taking(room, 50, taken)
    killed.kill(block=False)
    room.give(60)
    assert room.used_bytes == 50
    gevent.sleep(0)
    assert (taken, room.used_bytes) == ([], 0)


def test_more_can_be_noted_than_there_is(room):
    room.note(60)
    room.wait()
    room.note(60)
    assert room.used_bytes == 120
    waiting = gevent.spawn(room.wait)
    gevent.sleep(0)
    assert not waiting.ready()
    room.give(10)
    gevent.sleep(0)
    assert not waiting.ready()
    room.give(50)
    waiting.get(timeout=10)
    assert room.used_bytes == 60
