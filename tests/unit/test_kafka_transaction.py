from __future__ import annotations

import json

import pytest

from gstream.kafka.codes import Code
from gstream.kafka.transaction import LAST_EPOCH, NOBODY, Identity, State, Transaction
from tests.unit.transaction_ground import code_of


@pytest.fixture
def transaction():
    return Transaction("a", Identity(7, 3), 60_000, 1000)


def test_whoever_has_the_id_may_use_it(transaction):
    transaction.check(Identity(7, 3))
    assert code_of(transaction.check, Identity(8, 3)) is Code.INVALID_PRODUCER_ID_MAPPING
    assert code_of(transaction.check, Identity(7, 2)) is Code.PRODUCER_FENCED
    assert code_of(transaction.check, Identity(7, 4)) is Code.PRODUCER_FENCED


def test_a_producer_that_starts_replaces_the_one_before(transaction):
    transaction.restart(NOBODY, -1, 5000, 2000)
    assert (transaction.identity, transaction.previous) == ((7, 4), NOBODY)
    assert (transaction.timeout_ms, transaction.changed_ms, transaction.state) == (5000, 2000, State.EMPTY)
    assert code_of(transaction.check, Identity(7, 3)) is Code.PRODUCER_FENCED


def test_a_producer_goes_on_as_another_and_may_ask_again(transaction):
    transaction.restart(Identity(7, 3), -1, 5000, 2000)
    assert transaction.identity == (7, 4)
    transaction.check_restart(Identity(7, 3))
    transaction.restart(Identity(7, 3), -1, 5000, 3000)
    assert transaction.identity == (7, 4), "its reply was lost, and it is told the same again"
    transaction.restart(Identity(7, 4), -1, 5000, 4000)
    assert transaction.identity == (7, 5)
    assert code_of(transaction.check_restart, Identity(7, 3)) is Code.PRODUCER_FENCED


def test_a_producer_that_was_replaced_does_not_go_on(transaction):
    transaction.restart(NOBODY, -1, 5000, 2000)
    assert code_of(transaction.check_restart, Identity(7, 3)) is Code.PRODUCER_FENCED
    assert code_of(transaction.check_restart, Identity(8, 4)) is Code.PRODUCER_FENCED
    transaction.check_restart(Identity(7, 4))
    transaction.check_restart(NOBODY)


def test_a_request_that_was_lost_on_its_way_does_not_end_what_was_begun_since(transaction):
    transaction.restart(Identity(7, 3), -1, 5000, 2000)
    transaction.begin(3000)
    assert code_of(transaction.check_restart, Identity(7, 3)) is Code.PRODUCER_FENCED
    transaction.check_restart(Identity(7, 4))


def test_epochs_are_used_up(transaction):
    transaction.identity = Identity(7, LAST_EPOCH - 1)
    assert not transaction.is_exhausted
    transaction.restart(Identity(7, LAST_EPOCH - 1), -1, 5000, 2000)
    assert transaction.identity == (7, LAST_EPOCH)
    assert transaction.is_exhausted
    transaction.restart(Identity(7, LAST_EPOCH), 9, 5000, 2000)
    assert (transaction.identity, transaction.previous) == ((9, 0), (7, LAST_EPOCH))
    transaction.restart(Identity(7, LAST_EPOCH), -1, 5000, 2000)
    assert transaction.identity == (9, 0), "asked again"


def test_the_last_producer_of_an_id_can_be_refused_too(transaction):
    transaction.identity = Identity(7, LAST_EPOCH)
    transaction.fence()
    assert transaction.identity.epoch == 0x7FFF, "what fits into two bytes"
    transaction.restart(NOBODY, 9, 5000, 2000)
    assert transaction.identity == (9, 0)


def test_a_transaction_from_its_beginning_to_its_end(transaction):
    assert not transaction.is_open
    transaction.begin(2000)
    assert (transaction.is_ongoing, transaction.is_open, transaction.begun_ms) == (True, True, 2000)
    transaction.begin(3000)
    assert (transaction.begun_ms, transaction.changed_ms) == (2000, 3000), "it had begun before"
    transaction.partitions["t", 0] = transaction.groups["g"] = None
    transaction.prepare(4000, commits=True)
    assert (transaction.is_ongoing, transaction.is_ending, transaction.is_open) == (False, True, True)
    assert list(transaction.participants()) == [("t", 0), "g"]
    assert code_of(transaction.begin, 4000) is Code.CONCURRENT_TRANSACTIONS
    transaction.tell(("t", 0), again=False)
    transaction.tell("g", again=False)
    transaction.complete(5000)
    assert transaction.state is State.COMPLETE_COMMIT
    assert not transaction.is_open
    transaction.begin(6000)
    assert transaction.begun_ms == 6000


def test_who_is_to_be_told_again_comes_after_all_others(transaction):
    transaction.partitions.update(dict.fromkeys([("t", 0), ("t", 1)]))
    transaction.groups.update(dict.fromkeys(["g", "h"]))
    transaction.tell(("t", 0), again=True)
    transaction.tell("g", again=True)
    assert list(transaction.participants()) == [("t", 1), ("t", 0), "h", "g"]


@pytest.mark.parametrize("commits", [True, False])
def test_what_can_be_ended(transaction, commits):
    def code(asked):
        return code_of(transaction.check_end, commits=asked)

    assert code(commits) is Code.INVALID_TXN_STATE, "nothing has begun"
    transaction.begin(2000)
    assert transaction.check_end(commits=commits)
    transaction.prepare(3000, commits=commits)
    assert code(commits) is Code.CONCURRENT_TRANSACTIONS
    assert code(not commits) is Code.INVALID_TXN_STATE
    transaction.complete(4000)
    assert transaction.commits == commits
    assert not transaction.check_end(commits=commits), "it is done, whoever asks again"
    assert code(not commits) is Code.INVALID_TXN_STATE


def test_what_is_kept_is_found_again(transaction):
    transaction.restart(Identity(7, 3), -1, 5000, 2000)
    transaction.begin(3000)
    transaction.partitions.update(dict.fromkeys([("t", 2), ("ü", 0), ("t", 1)]))
    transaction.groups["g/1"] = None
    transaction.prepare(4000, commits=False)
    found = Transaction.decode("a", transaction.encode())
    for name in ("id", "identity", "previous", "timeout_ms", "state", "partitions", "groups", "begun_ms", "changed_ms"):
        assert getattr(found, name) == getattr(transaction, name), name
    assert found.commit is found.ended is found.timeout is None


def test_what_another_version_has_kept_is_not_read(transaction):
    fields = json.loads(transaction.encode())
    with pytest.raises(ValueError, match="does not read"):
        Transaction.decode("a", json.dumps({**fields, "format": 2}).encode())
