from __future__ import annotations

import gevent
import pytest

from gstream.commit import Commit
from gstream.recent import ID_BYTES, RECENT_IDS, RECENT_SECONDS, RecentIds
from gstream.storage.memory import Memory


def finish(commit, error=None):
    commit.finish(error)
    gevent.idle()


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


# --- remembered


@pytest.fixture
def told():
    """What was told of ids, in order."""
    return []


@pytest.fixture
def kept_ids(memory, time, told):
    return RecentIds(memory, time.clock, lambda *change: told.append(change))


def test_what_changes_is_told(kept_ids, told, time):
    kept_ids.remember(b"a", None)
    time.now += 7
    kept_ids.remember(b"b", 5)
    kept_ids.remember(b"a", 6)
    kept_ids.forget(b"b")
    assert told == [(b"a", (None, 0)), (b"b", (5, 0)), (b"a", (6, 7)), (b"b", None)]


def test_what_is_forgotten_in_its_time_is_told(kept_ids, told, time):
    kept_ids.remember(b"a", 1)
    time.now += RECENT_SECONDS
    assert kept_ids.forget_old() is None
    assert told == [(b"a", (1, 0)), (b"a", None)]


def test_what_makes_place_for_others_is_told(kept_ids, told):
    for number in range(RECENT_IDS + 1):
        kept_ids.remember(b"%d" % number, number)
    assert (b"0", None) in told[-2:]
    assert len(told) == RECENT_IDS + 2


def test_clearing_forgets_all_and_tells(kept_ids, told, memory):
    for name in (b"a", b"b"):
        kept_ids.remember(name, 1)
    told.clear()
    kept_ids.clear()
    assert told == [(b"a", None), (b"b", None)]
    assert (len(kept_ids), memory.held_bytes) == (0, 0)


def test_an_id_that_was_not_published_after_all(kept_ids, memory, told):
    kept_ids.remember(b"a", 1)
    kept_ids.forget(b"a")
    kept_ids.forget(b"a")
    assert (b"a" in kept_ids, memory.held_bytes) == (False, 0)
    assert told == [(b"a", (1, 0)), (b"a", None)]


def test_an_id_is_kept_when_its_message_is_stored_and_not_before(kept_ids, told, time):
    stored, saved = Commit(), Commit()
    whole = kept_ids.remember_after(b"a", 1, stored, lambda: saved)
    assert (kept_ids.find(b"a"), kept_ids.commit(b"a"), told) == (1, whole, [])
    time.now += 2
    finish(stored)
    assert (whole.is_done, told) == (False, [(b"a", (1, 2))])
    finish(saved)
    assert (whole.is_done, whole.error, kept_ids.commit(b"a")) == (True, None, None)


def test_of_an_id_whose_message_was_not_stored_nothing_is_told(kept_ids, told, memory):
    stored, error = Commit(), ValueError()
    whole = kept_ids.remember_after(b"a", 1, stored, Commit)
    finish(stored, error)
    assert (whole.error, told, memory.held_bytes) == (error, [], 0)
    assert b"a" not in kept_ids
    assert kept_ids.commit(b"a") is None


def test_an_id_that_was_forgotten_before_its_message_was_stored(kept_ids, told):
    stored, saved = Commit(), Commit()
    whole = kept_ids.remember_after(b"a", 1, stored, lambda: saved)
    kept_ids.clear()
    finish(stored)
    finish(saved)
    assert (whole.is_done, told) == (True, [])


def test_what_was_remembered_is_known_for_the_rest_of_its_time(kept_ids, memory, time, told):
    kept_ids.restore({b"a": (1, RECENT_SECONDS - 10), b"b": (None, 5.0), b"c": (3, 0.0)})
    assert told == [], "it is remembered already"
    assert memory.held_bytes == 3 * (ID_BYTES + 1)
    assert [kept_ids.find(name) for name in (b"a", b"b", b"c")] == [1, None, 3]
    assert kept_ids.forget_old() == time.now + 10
    time.now += 10
    assert kept_ids.forget_old() == time.now + RECENT_SECONDS - 15
    assert [name in kept_ids for name in (b"a", b"b", b"c")] == [False, True, True]
    kept_ids.remember(b"b", 2)
    assert told == [(b"a", None), (b"b", (2, 15.0))]


def test_what_was_remembered_for_too_long_is_forgotten_at_once(kept_ids, memory, told):
    kept_ids.restore({b"a": (1, RECENT_SECONDS + 1000)})
    assert kept_ids.forget_old() is None
    assert told == [(b"a", None)]
    assert memory.held_bytes == 0
