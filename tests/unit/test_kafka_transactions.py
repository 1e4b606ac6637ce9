from __future__ import annotations

import logging

import gevent
import pytest

from gstream.errors import DiskFullError, FullError
from gstream.kafka import endings, transactions
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.transaction import LAST_EPOCH, NOBODY, Identity
from gstream.kafka.transactions import FORGOTTEN_SECONDS, LOOKED_SECONDS, MAX_TIMEOUT_MS, code_in
from gstream.storage.producers import StaleEpochError
from tests.unit.transaction_ground import DISK_FULL, MINUTE, SECOND, FakeKeeper, FakeTopic, Ground, code_of, spawn


@pytest.fixture
def ground(time):
    """In memory: everything is done at once."""
    return Ground(time)


@pytest.fixture
def disk(time):
    """What is to be kept waits until a test says that it is."""
    ground = Ground(time, FakeKeeper())
    ground.take_id = ground.producer_ids.take()  # so that no block is to be kept any more
    ground.keeper.waits = True
    return ground


def keep_all(ground, greenlet):
    """Keep whatever this waits for; what it gives, or is refused with."""
    for _ in range(10):
        if greenlet.ready():
            break
        ground.keeper.write()
    value, code = greenlet.get(timeout=1)
    assert code is None
    return value


def begin(disk, id="a", partitions=(0,)):
    identity = keep_all(disk, spawn(disk.transactions.start, id, MINUTE))
    keep_all(disk, spawn(disk.transactions.add_partitions, id, identity, [("t", each) for each in partitions]))
    return identity


# --- producers


def test_a_producer_starts_and_another_one_replaces_it(ground):
    first = ground.transactions.start("a", MINUTE)
    second = ground.transactions.start("a", MINUTE)
    other = ground.transactions.start("b", MINUTE)
    assert (first.epoch, second.epoch, other.epoch) == (0, 1, 0)
    assert first.id == second.id != other.id
    assert len(ground.transactions) == 2
    assert code_of(ground.transactions.add_partitions, "a", first, []) is Code.PRODUCER_FENCED
    assert code_of(ground.transactions.add_group, "a", first, "g") is Code.PRODUCER_FENCED
    assert code_of(ground.transactions.end, "a", first, commits=True) is Code.PRODUCER_FENCED
    assert code_of(ground.transactions.check_group, "a", first, "g") is Code.PRODUCER_FENCED
    assert code_of(ground.transactions.check_produce, *first, "a", "t", 0) is Code.INVALID_PRODUCER_EPOCH


@pytest.mark.parametrize("id", ["", "x" * 1001])
def test_what_is_no_transactional_id(ground, id):
    assert code_of(ground.transactions.start, id, MINUTE) is Code.INVALID_REQUEST


def test_an_empty_id_has_no_transaction(ground):
    assert code_of(ground.transactions.add_partitions, "", Identity(1, 0), []) is Code.INVALID_REQUEST
    assert code_of(ground.transactions.add_group, "", Identity(1, 0), "g") is Code.INVALID_REQUEST
    assert code_of(ground.transactions.end, "", Identity(1, 0), commits=True) is Code.INVALID_REQUEST


@pytest.mark.parametrize("timeout_ms", [-1, 0, MAX_TIMEOUT_MS + 1])
def test_a_transaction_lasts_so_long_at_most(ground, timeout_ms):
    assert code_of(ground.transactions.start, "a", timeout_ms) is Code.INVALID_TRANSACTION_TIMEOUT
    assert ground.transactions.start("a", MAX_TIMEOUT_MS).epoch == 0


def test_what_is_not_known_or_of_another(ground):
    identity = ground.transactions.start("a", MINUTE)
    unknown = Identity(identity.id + 1, 0)
    for id, producer in (("b", identity), ("a", unknown)):
        assert code_of(ground.transactions.add_partitions, id, producer, []) is Code.INVALID_PRODUCER_ID_MAPPING
        assert code_of(ground.transactions.add_group, id, producer, "g") is Code.INVALID_PRODUCER_ID_MAPPING
        assert code_of(ground.transactions.end, id, producer, commits=True) is Code.INVALID_PRODUCER_ID_MAPPING
        assert code_of(ground.transactions.check_group, id, producer, "g") is Code.INVALID_PRODUCER_ID_MAPPING
        assert code_of(ground.transactions.check_produce, *producer, id, "t", 0) is Code.INVALID_PRODUCER_ID_MAPPING
    assert code_of(ground.transactions.check_produce, *identity, None, "t", 0) is Code.INVALID_PRODUCER_ID_MAPPING


def test_a_producer_goes_on_as_another(ground):
    first = ground.transactions.start("a", MINUTE)
    second = ground.transactions.start("a", MINUTE, first)
    assert second == (first.id, 1)
    assert ground.transactions.start("a", MINUTE, first) == second, "asked again"
    third = ground.transactions.start("a", MINUTE)
    assert code_of(ground.transactions.start, "a", MINUTE, first) is Code.PRODUCER_FENCED
    assert code_of(ground.transactions.start, "a", MINUTE, second) is Code.PRODUCER_FENCED
    assert ground.transactions.start("a", MINUTE, third) == (first.id, 3)


def test_a_producer_whose_id_was_forgotten_goes_on_with_another(ground):
    identity = ground.transactions.start("a", MINUTE, Identity(7, 5))
    assert identity.epoch == 0
    assert identity.id != 7
    assert ground.transactions.start("a", MINUTE, Identity(7, 5)) == identity, "asked again"


def test_epochs_that_are_used_up(ground):
    first = ground.transactions.start("a", MINUTE)
    for _ in range(LAST_EPOCH):
        last = ground.transactions.start("a", MINUTE)
    assert last == (first.id, LAST_EPOCH)
    following = ground.transactions.start("a", MINUTE, last)
    assert following == (first.id + 1, 0)
    assert ground.transactions.start("a", MINUTE, last) == following, "asked again"


def test_a_producer_starts_when_that_is_kept(disk):
    starting = spawn(disk.transactions.start, "a", MINUTE)
    assert not starting.ready()
    disk.keeper.write()
    identity, code = starting.get(timeout=1)
    assert code is None
    disk.crash()
    assert disk.transactions.start("a", MINUTE) == (identity.id, 1)


def test_a_producer_that_cannot_be_kept_does_not_start_and_tries_again(disk):
    starting = spawn(disk.transactions.start, "a", MINUTE)
    disk.keeper.write(DISK_FULL)
    assert starting.get(timeout=1) == (None, Code.COORDINATOR_NOT_AVAILABLE)
    assert keep_all(disk, spawn(disk.transactions.start, "a", MINUTE)).epoch == 1


def test_a_producer_without_an_id_to_be_had_tries_again(time):
    ground = Ground(time, FakeKeeper())
    ground.keeper.waits = True
    starting = spawn(ground.transactions.start, "a", MINUTE)
    ground.keeper.write(DISK_FULL)
    assert starting.get(timeout=1) == (None, Code.COORDINATOR_NOT_AVAILABLE)
    assert len(ground.transactions) == 0


def test_of_two_that_start_at_once_one_tries_again(time):
    ground = Ground(time, FakeKeeper())
    ground.keeper.waits = True
    first, second = [spawn(ground.transactions.start, "a", MINUTE) for _ in range(2)]
    ground.keeper.write()
    assert second.get(timeout=1) == (None, Code.CONCURRENT_TRANSACTIONS)
    assert keep_all(ground, first).epoch == 0


def test_there_are_so_many_ids_at_most(ground, monkeypatch):
    monkeypatch.setattr(transactions, "MAX_IDS", 2)
    ground.transactions.start("a", MINUTE)
    ground.transactions.start("b", MINUTE)
    assert code_of(ground.transactions.start, "c", MINUTE) is Code.POLICY_VIOLATION
    assert ground.transactions.start("a", MINUTE).epoch == 1
    ground.time.now += FORGOTTEN_SECONDS
    assert ground.transactions.start("c", MINUTE).epoch == 0, "the others are old"
    assert len(ground.transactions) == 1


def test_there_is_no_further_id_when_all_that_is_kept_takes_too_much(ground, monkeypatch):
    ground.transactions.start("a", MINUTE)
    monkeypatch.setattr("gstream.storage.facts.MAX_BYTES", 1)
    assert code_of(ground.transactions.start, "b", MINUTE) is Code.POLICY_VIOLATION
    assert ground.transactions.start("a", MINUTE).epoch == 1


def test_an_id_that_is_not_used_is_forgotten(ground, monkeypatch):
    monkeypatch.setattr(transactions, "FORGOTTEN_AT_ONCE", 2)
    identities = [ground.transactions.start(f"{number}", MINUTE) for number in range(5)]
    ground.sleep(FORGOTTEN_SECONDS - LOOKED_SECONDS)
    assert len(ground.transactions) == 5
    ground.transactions.start("4", MINUTE)
    ground.sleep(LOOKED_SECONDS)
    assert len(ground.transactions) == 1
    assert code_of(ground.transactions.end, "0", identities[0], commits=True) is Code.INVALID_PRODUCER_ID_MAPPING
    ground.sleep(FORGOTTEN_SECONDS)
    assert len(ground.transactions) == 0


# --- a transaction


@pytest.mark.parametrize("commits", [True, False])
def test_everybody_who_takes_part_is_told_how_it_ends(ground, commits):
    identity = ground.begin(partitions=(0, 2))
    ground.transactions.add_group("a", identity, "g")
    assert ground.transactions.open_count == 1
    ground.transactions.end("a", identity, commits=commits)
    assert ground.topic.markers == [(0, identity, commits), (2, identity, commits)]
    assert ground.groups.ended == [("g", identity.id, commits)]
    assert ground.transactions.open_count == 0


def test_it_may_be_ended_again_the_same_way(ground):
    identity = ground.begin()
    ground.transactions.end("a", identity, commits=True)
    ground.transactions.end("a", identity, commits=True)
    assert len(ground.topic.markers) == 1
    assert code_of(ground.transactions.end, "a", identity, commits=False) is Code.INVALID_TXN_STATE


def test_there_has_to_be_one_to_be_ended(ground):
    identity = ground.transactions.start("a", MINUTE)
    assert code_of(ground.transactions.end, "a", identity, commits=True) is Code.INVALID_TXN_STATE


def test_one_follows_the_other(ground):
    identity = ground.begin(partitions=(0, 1))
    ground.transactions.end("a", identity, commits=True)
    ground.transactions.add_group("a", identity, "g")
    ground.transactions.end("a", identity, commits=False)
    assert len(ground.topic.markers) == 2, "no partition took part in the second one"
    assert ground.groups.ended == [("g", identity.id, False)]


def test_messages_belong_to_a_transaction_that_has_their_partition(ground):
    def check(partition, topic="t"):
        ground.transactions.check_produce(*identity, "a", topic, partition)

    identity = ground.transactions.start("a", MINUTE)
    assert code_of(check, 0) is Code.INVALID_TXN_STATE
    ground.transactions.add_partitions("a", identity, [("t", 0), ("t", 1)])
    check(0)
    check(1)
    assert code_of(check, 2) is Code.INVALID_TXN_STATE
    assert code_of(check, 0, "u") is Code.INVALID_TXN_STATE
    ground.transactions.end("a", identity, commits=True)
    assert code_of(check, 0) is Code.INVALID_TXN_STATE, "they come late"


def test_offsets_belong_to_a_transaction_that_has_their_group(ground):
    identity = ground.begin()
    assert code_of(ground.transactions.check_group, "a", identity, "g") is Code.INVALID_TXN_STATE
    ground.transactions.add_group("a", identity, "g")
    ground.transactions.check_group("a", identity, "g")
    ground.transactions.end("a", identity, commits=True)
    assert code_of(ground.transactions.check_group, "a", identity, "g") is Code.INVALID_TXN_STATE


def test_so_many_groups_take_part_at_most(ground, monkeypatch):
    monkeypatch.setattr(transactions, "MAX_GROUPS", 1)
    identity = ground.begin()
    ground.transactions.add_group("a", identity, "g")
    ground.transactions.add_group("a", identity, "g")
    assert code_of(ground.transactions.add_group, "a", identity, "h") is Code.INVALID_REQUEST


def test_no_group_has_such_a_name(ground):
    identity = ground.begin()
    assert code_of(ground.transactions.add_group, "a", identity, "x" * 1001) is Code.INVALID_GROUP_ID
    ground.transactions.add_group("a", identity, "x" * 1000)


def test_what_takes_part_is_kept_before_that_is_answered(disk):
    identity = keep_all(disk, spawn(disk.transactions.start, "a", MINUTE))
    for add, what in ((disk.transactions.add_partitions, [("t", 0)]), (disk.transactions.add_group, "g")):
        adding = spawn(add, "a", identity, what)
        again = spawn(add, "a", identity, what)
        assert not adding.ready()
        assert not again.ready(), "nor when it is there already"
        disk.keeper.write()
        assert adding.get(timeout=1) == again.get(timeout=1) == (None, None)
        commits = disk.keeper.commits
        add("a", identity, what)
        assert disk.keeper.commits == commits, "it is there, and kept"


def test_what_takes_part_and_cannot_be_kept_is_tried_again(disk):
    identity = keep_all(disk, spawn(disk.transactions.start, "a", MINUTE))
    adding = spawn(disk.transactions.add_partitions, "a", identity, [("t", 0)])
    disk.keeper.write(DISK_FULL)
    assert adding.get(timeout=1) == (None, Code.COORDINATOR_NOT_AVAILABLE)
    again = spawn(disk.transactions.add_partitions, "a", identity, [("t", 0)])
    assert not again.ready()
    disk.keeper.write()
    assert again.get(timeout=1) == (None, None)


# --- its end


def test_no_marker_is_written_before_the_decision_is_kept(disk):
    identity = begin(disk)
    ending = spawn(disk.transactions.end, "a", identity, commits=True)
    assert not disk.topic.markers
    for commits, code in ((True, Code.CONCURRENT_TRANSACTIONS), (False, Code.INVALID_TXN_STATE)):
        assert code_of(disk.transactions.end, "a", identity, commits=commits) is code
    assert code_of(disk.transactions.add_partitions, "a", identity, [("t", 1)]) is Code.CONCURRENT_TRANSACTIONS
    assert code_of(disk.transactions.add_partitions, "a", identity, [("t", 0)]) is Code.CONCURRENT_TRANSACTIONS
    assert code_of(disk.transactions.add_group, "a", identity, "g") is Code.CONCURRENT_TRANSACTIONS
    assert code_of(disk.transactions.check_produce, *identity, "a", "t", 0) is Code.INVALID_TXN_STATE
    disk.keeper.write()
    assert ending.get(timeout=1) == (None, None)
    assert disk.topic.markers == [(0, identity, True)]


def test_it_is_answered_when_the_markers_are_stored(disk):
    identity = begin(disk)
    disk.topic.waits = True
    ending = spawn(disk.transactions.end, "a", identity, commits=True)
    disk.keeper.write()
    assert not ending.ready()
    assert disk.transactions.open_count == 1
    disk.topic.store()
    assert ending.get(timeout=1) == (None, None)
    assert disk.transactions.open_count == 0


def test_a_decision_that_cannot_be_kept_is_kept_later(disk, caplog):
    identity = begin(disk)
    ending = spawn(disk.transactions.end, "a", identity, commits=True)
    with caplog.at_level(logging.WARNING):
        disk.keeper.write(DiskFullError("no room"))
        assert ending.get(timeout=1) == (None, Code.COORDINATOR_NOT_AVAILABLE)
        assert code_of(disk.transactions.end, "a", identity, commits=True) is Code.CONCURRENT_TRANSACTIONS
        disk.sleep(endings.AGAIN_SECONDS)
        disk.keeper.write(DiskFullError("no room"))
        disk.sleep(endings.AGAIN_SECONDS)
        assert not disk.topic.markers
        disk.keeper.write()
    assert disk.topic.markers == [(0, identity, True)]
    disk.transactions.end("a", identity, commits=True)
    assert [record.getMessage() for record in caplog.records] == [
        "transactional id 'a': its transaction cannot be ended yet: no room",
        "transactional id 'a': its transaction is ended",
    ]


def test_a_marker_that_cannot_be_stored_is_stored_later(disk, caplog):
    identity = begin(disk, partitions=(0, 1, 2))
    disk.topic.refusals[1] = FullError("no room")
    ending = spawn(disk.transactions.end, "a", identity, commits=False)
    with caplog.at_level(logging.WARNING):
        disk.keeper.write()
        assert ending.get(timeout=1) == (None, None), "it is sure how it ends"
        assert disk.topic.markers == [(0, identity, False), (2, identity, False)]
        assert code_of(disk.transactions.add_group, "a", identity, "g") is Code.CONCURRENT_TRANSACTIONS
        disk.sleep(endings.AGAIN_SECONDS)
        disk.topic.refusals.clear()
        disk.topic.waits = True
        disk.sleep(endings.AGAIN_SECONDS)
        disk.topic.store(DISK_FULL)
        disk.sleep(endings.AGAIN_SECONDS)
        assert disk.transactions.open_count == 1
        disk.topic.store()
    assert disk.topic.markers[2:] == [(1, identity, False)] * 2, "the others have theirs"
    assert disk.transactions.open_count == 0
    assert len(caplog.records) == 2


def test_offsets_that_cannot_be_kept_are_kept_later(ground):
    identity = ground.begin()
    ground.transactions.add_group("a", identity, "g")
    ground.groups.refusal = DISK_FULL
    ground.transactions.end("a", identity, commits=True)
    assert ground.transactions.open_count == 1
    ground.groups.refusal = None
    ground.sleep(endings.AGAIN_SECONDS)
    assert ground.groups.ended == [("g", identity.id, True)]
    assert ground.transactions.open_count == 0
    assert len(ground.topic.markers) == 1


def test_a_topic_that_was_removed_meanwhile_is_passed_over(ground):
    identity = ground.begin()
    ground.broker.topics["u"] = FakeTopic()
    ground.transactions.add_partitions("a", identity, [("u", 0), ("t", 2)])
    del ground.broker.topics["u"]
    ground.broker.topics["t"] = other = FakeTopic(1)
    ground.transactions.end("a", identity, commits=True)
    assert other.markers == [(0, identity, True)]
    assert ground.transactions.open_count == 0


def test_a_log_that_knows_a_later_producer_needs_no_marker(ground, caplog):
    identity = ground.begin(partitions=(0, 1))
    ground.topic.refusals[0] = StaleEpochError("there is a later one")
    with caplog.at_level(logging.WARNING):
        ground.transactions.end("a", identity, commits=True)
    assert ground.topic.markers == [(1, identity, True)]
    assert "no end of a transaction in t:0: there is a later one" in caplog.text


def test_others_have_a_turn_while_many_partitions_are_told(ground, monkeypatch):
    monkeypatch.setattr(endings, "TOLD_AT_ONCE", 2)
    identity = ground.begin(partitions=(0, 1, 2))
    ground.transactions.add_group("a", identity, "g")
    ending = spawn(ground.transactions.end, "a", identity, commits=True)
    assert len(ground.topic.markers) == 2
    assert not ending.ready()
    ground.time.run()
    gevent.idle()
    assert ending.get(timeout=1) == (None, None)
    assert ground.topic.markers == [(each, identity, True) for each in range(3)]
    assert ground.groups.ended == [("g", identity.id, True)]


# --- what was left open


def test_a_producer_that_starts_aborts_what_the_one_before_left_open(ground):
    first = ground.begin()
    second = ground.transactions.start("a", MINUTE)
    assert second == (first.id, first.epoch + 2)
    fenced = (first.id, first.epoch + 1)
    assert ground.topic.markers == [(0, fenced, False)], "whom the log refuses the first one by"
    assert code_of(ground.transactions.end, "a", first, commits=True) is Code.PRODUCER_FENCED


def test_a_producer_that_goes_on_aborts_what_it_has_left_open(ground):
    first = ground.begin()
    second = ground.transactions.start("a", MINUTE, first)
    assert second == (first.id, first.epoch + 2)
    assert ground.transactions.open_count == 0
    assert len(ground.topic.markers) == 1


def test_who_was_replaced_does_not_abort_what_another_has_begun(ground):
    first = ground.transactions.start("a", MINUTE)
    second = ground.begin()
    assert code_of(ground.transactions.start, "a", MINUTE, first) is Code.PRODUCER_FENCED
    ground.transactions.end("a", second, commits=True)
    assert ground.topic.markers == [(0, second, True)]


def test_a_producer_starts_when_what_was_left_open_has_ended(disk):
    first = begin(disk)
    disk.topic.waits = True
    starting = spawn(disk.transactions.start, "a", MINUTE)
    another = spawn(disk.transactions.start, "a", MINUTE)
    disk.keeper.write()
    assert not starting.ready()
    disk.topic.store()
    assert keep_all(disk, starting) == (first.id, 2)
    assert keep_all(disk, another) == (first.id, 3)
    assert disk.topic.markers == [(0, (first.id, 1), False)]


@pytest.mark.parametrize("cause", ["decision", "marker"])
def test_a_producer_tries_again_while_what_was_left_open_cannot_be_ended(disk, cause):
    first = begin(disk)
    disk.topic.refusals[0] = FullError("no room")
    starting = spawn(disk.transactions.start, "a", MINUTE)
    disk.keeper.write(DISK_FULL if cause == "decision" else None)
    assert starting.get(timeout=1) == (None, Code.CONCURRENT_TRANSACTIONS)
    disk.topic.refusals.clear()
    disk.sleep(endings.AGAIN_SECONDS)
    disk.keeper.write()
    assert keep_all(disk, spawn(disk.transactions.start, "a", MINUTE)) == (first.id, 2)


def test_a_transaction_that_lasts_too_long_is_aborted(ground, caplog):
    identity = ground.begin(timeout_ms=2 * SECOND)
    ground.sleep(1.5)
    ground.transactions.add_partitions("a", identity, [("t", 1)])
    assert not ground.topic.markers
    with caplog.at_level(logging.WARNING):
        ground.sleep(0.5)
    fenced = identity.id, identity.epoch + 1
    assert ground.topic.markers == [(0, fenced, False), (1, fenced, False)], "its time began with it"
    assert "was not ended within 2 s" in caplog.text
    assert code_of(ground.transactions.end, "a", identity, commits=True) is Code.PRODUCER_FENCED
    assert ground.transactions.start("a", MINUTE) == (identity.id, identity.epoch + 2)


def test_the_time_of_a_transaction_ends_with_it(ground):
    identity = ground.begin(timeout_ms=2 * SECOND)
    ground.sleep(1.5)
    ground.transactions.end("a", identity, commits=True)
    ground.transactions.add_partitions("a", identity, [("t", 0)])
    ground.sleep(1.5)
    assert ground.transactions.open_count == 1
    ground.sleep(0.5)
    assert [says for _, _, says in ground.topic.markers] == [True, False]


# --- restarts


def test_a_restart_knows_what_is_open(disk):
    identity = begin(disk)
    keep_all(disk, spawn(disk.transactions.add_group, "a", identity, "g"))
    disk.crash()
    assert disk.transactions.open_count == 1
    disk.transactions.check_produce(*identity, "a", "t", 0)
    disk.transactions.end("a", identity, commits=True)
    assert disk.topic.markers == [(0, identity, True)]
    assert disk.groups.ended == [("g", identity.id, True)]


def test_a_restart_goes_on_with_what_was_decided(disk):
    identity = begin(disk, partitions=(0, 1))
    disk.topic.refusals[1] = FullError("no room")
    spawn(disk.transactions.end, "a", identity, commits=True)
    disk.keeper.write()
    assert disk.topic.markers == [(0, identity, True)]
    disk.topic.refusals.clear()
    disk.crash()
    assert disk.transactions.open_count == 1
    disk.sleep(0)
    assert disk.topic.markers[1:] == [(0, identity, True), (1, identity, True)], "a marker too many says nothing new"
    assert disk.transactions.open_count == 0
    disk.transactions.end("a", identity, commits=True)
    assert len(disk.topic.markers) == 3


def test_a_restart_does_not_know_a_decision_that_was_not_kept(disk):
    identity = begin(disk)
    spawn(disk.transactions.end, "a", identity, commits=True)
    disk.crash()
    disk.transactions.end("a", identity, commits=False)
    assert disk.topic.markers == [(0, identity, False)], "nobody was told of the other one"


@pytest.mark.parametrize("seconds", [20, 70])
def test_the_time_of_a_transaction_goes_on_over_a_restart(disk, seconds):
    identity = begin(disk)
    disk.time.now += seconds
    disk.crash()
    disk.sleep(max(0, 60 - seconds - 1))
    assert len(disk.topic.markers) == (seconds > 60)
    disk.sleep(1)
    assert disk.topic.markers == [(0, (identity.id, 1), False)]


def test_a_clock_that_was_set_back_does_not_make_it_longer(disk):
    begin(disk)
    disk.time.now -= 1000
    disk.crash()
    disk.sleep(60)
    assert len(disk.topic.markers) == 1


def test_what_is_open_in_a_log_and_not_known_is_aborted(disk, caplog):
    identity = begin(disk)
    first, second, third = disk.topic.partitions
    first.opened = {identity.id: identity.epoch}
    second.opened = {identity.id: identity.epoch, 5: 6}
    disk.topic.refusals[2] = FullError("no room")
    third.opened = {7: 8}
    with caplog.at_level(logging.WARNING):
        disk.crash()
        assert not disk.topic.markers
        disk.sleep(0)
    assert disk.topic.markers == [(1, identity, False), (1, (5, 6), False)]
    assert "3 transactions that nothing is kept of are aborted" in caplog.text
    assert "cannot be aborted yet: no room" in caplog.text
    disk.topic.refusals.clear()
    disk.sleep(endings.AGAIN_SECONDS)
    assert disk.topic.markers[2:] == [(2, (7, 8), False)]
    disk.transactions.end("a", identity, commits=True)
    assert disk.topic.markers[3:] == [(0, identity, True)]


# --- replies


@pytest.mark.parametrize(
    ("version", "code", "expected"),
    [
        (1, Code.PRODUCER_FENCED, Code.INVALID_PRODUCER_EPOCH),
        (2, Code.PRODUCER_FENCED, Code.PRODUCER_FENCED),
        (1, Code.INVALID_TXN_STATE, Code.INVALID_TXN_STATE),
    ],
)
def test_old_clients_do_not_know_all_codes(version, code, expected):
    assert code_in(version, 2, KafkaError(code)) is expected


def test_nobody_is_no_producer():
    assert NOBODY == (-1, -1)


def test_offsets_wait_for_open_transactions_only(ground):
    identity = ground.begin("a")
    ground.transactions.add_group("a", identity, "g")
    other = ground.begin("b")
    ground.transactions.add_group("b", other, "h")
    ground.transactions.end("b", other, commits=True)
    found = transactions.Transactions(
        ground.broker, ground.groups, ground.facts, ground.producer_ids, ground.time.clock
    )
    assert len(found) == 2
    assert ground.groups.known == {("g", identity.id)}
