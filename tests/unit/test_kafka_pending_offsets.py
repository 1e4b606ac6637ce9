import logging

import pytest

from gstream.kafka.committed import Committed
from gstream.kafka.pending_offsets import PendingOffsets
from gstream.storage.facts import Facts


@pytest.fixture
def facts():
    return Facts()


@pytest.fixture
def pending(facts):
    return PendingOffsets(facts)


def test_they_wait(pending):
    assert "workers" not in pending
    pending.add("workers", 7, {("orders", 0): Committed(1)})
    pending.add("workers", 8, {("orders", 1): Committed(2)})
    assert "workers" in pending
    assert pending.waits("workers", ("orders", 0))
    assert pending.waits("workers", ("orders", 1))
    assert not pending.waits("workers", ("orders", 2))
    assert not pending.waits("others", ("orders", 0))


def test_they_are_taken_once(pending, facts):
    pending.add("workers", 7, {("orders", 0): Committed(1)})
    pending.add("workers", 7, {("orders", 0): Committed(2, 0, "x"), ("orders", 1): Committed(3)})
    assert pending.take("workers", 8) == {}
    assert pending.take("workers", 7) == {("orders", 0): Committed(2, 0, "x"), ("orders", 1): Committed(3)}
    assert pending.take("workers", 7) == {}
    assert "workers" not in pending
    assert len(facts) == 0


def test_they_are_found_again(pending, facts):
    pending.add("my/workers", 7, {("orders", 0): Committed(1, 0, "so far", 5)})
    again = PendingOffsets(facts)
    assert again.groups == ["my/workers"]
    assert again.take("my/workers", 7) == {("orders", 0): Committed(1, 0, "so far", 5)}


def test_what_was_kept_differently_is_left_out(facts, caplog):
    facts.put("pending/workers/7", b"garbage")
    facts.put("pending/workers/8", b'[["orders"]]')
    facts.put("pending/workers", b"[]")
    with caplog.at_level(logging.WARNING):
        assert PendingOffsets(facts).groups == []
    assert len(caplog.records) == 3


def test_they_go_with_their_group(pending, facts):
    pending.add("workers", 7, {("orders", 0): Committed(1)})
    pending.add("workers", 8, {("orders", 0): Committed(1)})
    pending.remove("workers")
    pending.remove("others")
    assert pending.groups == []
    assert len(facts) == 0
