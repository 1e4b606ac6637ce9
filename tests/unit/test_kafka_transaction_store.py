from __future__ import annotations

import logging

import pytest

from gstream.kafka.codes import Code
from gstream.kafka.transaction import Identity, Transaction
from gstream.kafka.transaction_store import PREFIX, TransactionStore
from gstream.storage.facts import Facts
from tests.unit.transaction_ground import DISK_FULL, FakeKeeper, spawn


@pytest.fixture
def keeper():
    return FakeKeeper()


@pytest.fixture
def store(keeper):
    return TransactionStore(Facts(keeper))


def make(id, changed_ms=1000):
    return Transaction(id, Identity(7, 3), 60_000, changed_ms)


def ids(store):
    return [each.id for each in store]


def test_what_is_kept_is_found_again(store, keeper):
    for id, changed_ms in (("a", 3000), ("b/c %", 1000), ("ü", 2000)):
        store.keep(make(id, changed_ms))
    keeper.write()
    assert sorted(keeper.kept) == [f"{PREFIX}%C3%BC", f"{PREFIX}a", f"{PREFIX}b%2Fc%20%25"]
    found = TransactionStore(Facts(keeper, keeper.kept))
    assert ids(found) == ["b/c %", "ü", "a"], "those first that changed longest ago"
    assert found.get("ü").identity == (7, 3)
    assert found.get("x") is None
    assert len(found) == 3


def test_what_changes_is_the_latest(store):
    first = make("a")
    store.note(first)
    store.note(make("b"))
    store.note(first)
    assert ids(store) == ["b", "a"]
    assert first.commit is None


def test_what_is_noted_is_kept_whenever_something_is(store, keeper):
    store.note(make("a"))
    assert not keeper.commits
    store.keep(make("b"))
    keeper.write()
    assert ids(TransactionStore(Facts(keeper, keeper.kept))) == ["a", "b"]


def test_one_waits_until_it_is_kept(store, keeper):
    keeper.waits = True
    transaction = make("a")
    store.keep(transaction)
    waiting = spawn(store.settle, transaction)
    assert not waiting.ready()
    keeper.write()
    assert waiting.get(timeout=1) == (None, None)
    store.settle(transaction)
    assert transaction.commit is None
    assert keeper.commits == 1


def test_what_could_not_be_kept_is_kept_when_somebody_asks_again(store, keeper):
    keeper.waits = True
    transaction = make("a")
    store.keep(transaction)
    waiting = spawn(store.settle, transaction)
    keeper.write(DISK_FULL)
    assert waiting.get(timeout=1) == (None, Code.COORDINATOR_NOT_AVAILABLE)
    again = spawn(store.settle, transaction)
    assert not again.ready(), "it is not kept yet"
    keeper.write()
    assert again.get(timeout=1) == (None, None)
    assert keeper.kept


def test_those_are_forgotten_that_are_old_and_not_open(store, keeper):
    for number in range(5):
        store.note(make(f"{number}", 1000 * number))
    store.get("1").begin(1000)
    assert store.forget_before(2500, 1) == 1
    assert ids(store) == ["1", "2", "3", "4"]
    assert store.forget_before(2500, 10) == 1
    assert ids(store) == ["1", "3", "4"]
    assert store.forget_before(2500, 10) == 0
    keeper.write()
    assert ids(TransactionStore(Facts(keeper, keeper.kept))) == ["1", "3", "4"]


@pytest.mark.parametrize("value", [b"", b"{}", b"[1]", b'{"format": 1}', b"\xff"])
def test_what_cannot_be_read_is_forgotten_and_said(value, caplog):
    facts = Facts(None, {f"{PREFIX}a": value})
    with caplog.at_level(logging.ERROR):
        assert len(TransactionStore(facts)) == 0
    assert "transaction/a cannot be read" in caplog.text
    assert facts.get(f"{PREFIX}a") is None
