from __future__ import annotations

import pytest

from gstream.recent import ID_BYTES, RECENT_IDS, RECENT_SECONDS, RecentIds
from gstream.storage.memory import Memory


@pytest.fixture
def memory():
    return Memory(1 << 30)


@pytest.fixture
def ids(memory, time):
    return RecentIds(memory, time.clock)


def test_what_was_answered_to_an_id(ids):
    ids.remember(b"a", 7)
    ids.remember(b"b", None)
    assert (ids.find(b"a"), ids.find(b"b"), len(ids)) == (7, None, 2)
    assert b"a" in ids
    assert b"c" not in ids
    with pytest.raises(KeyError):
        ids.find(b"c")


def test_what_is_known_is_corrected_and_costs_nothing_more(ids, memory, time):
    ids.remember(b"a", None)
    held = memory.held_bytes
    time.now += RECENT_SECONDS - 1
    ids.remember(b"a", 7)
    assert ids.find(b"a") == 7
    assert memory.held_bytes == held == ID_BYTES + 1
    time.now += 1
    assert ids.forget_old() is None
    assert b"a" not in ids, "its time began when it came first"


def test_an_id_is_known_for_so_long(ids, memory, time):
    ids.remember(b"a", 1)
    time.now += 10
    ids.remember(b"b", 2)
    time.now += RECENT_SECONDS - 10.5
    assert ids.forget_old() == time.now + 0.5
    assert len(ids) == 2
    time.now += 0.5
    assert ids.forget_old() == time.now + 10
    assert (b"a" in ids, b"b" in ids) == (False, True)
    assert memory.held_bytes == ID_BYTES + 1
    time.now += 10
    assert ids.forget_old() is None
    assert memory.held_bytes == 0


def test_all_are_forgotten_at_once(ids, memory):
    memory.held_bytes = 5
    ids.remember(b"a", 1)
    ids.remember(b"bb", None)
    ids.clear()
    assert (len(ids), memory.held_bytes, ids.forget_old()) == (0, 5, None)


def test_an_id_is_known_until_so_many_others_came(ids, memory):
    names = [b"%d" % number for number in range(RECENT_IDS + 3)]
    for number, name in enumerate(names):
        ids.remember(name, number)
    assert len(ids) == RECENT_IDS
    assert [name in ids for name in names[:5]] == [False, False, False, True, True]
    assert ids.find(names[-1]) == RECENT_IDS + 2
    assert memory.held_bytes == sum(ID_BYTES + len(name) for name in names[3:])
