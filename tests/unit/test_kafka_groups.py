import logging

import pytest

from gstream.errors import BusyError
from gstream.kafka import groups as module
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Committed
from gstream.kafka.group import State
from tests.unit.groups_ground import BOTH, join, joining, make_node, member

WEEK = 7 * 24 * 3600
PLACE = ("orders", 1)


@pytest.fixture
def node(time):
    return make_node(time)


@pytest.fixture
def groups(node):
    return node.groups


def again(node, time, **settings):
    """Another server with what this one has kept."""
    return make_node(time, node.engine, **settings).groups


def refused(code, action, *args):
    with pytest.raises(KafkaError) as caught:
        action(*args)
    assert caught.value.code is code


def start(group, **options):
    id = group.join(joining(**options)).get().member_id
    group.sync(group.generation, id, None, [(id, b"all")])
    return id


# --- by name


def test_groups_by_their_names(groups):
    assert groups.find("workers") is None
    group = groups.find_or_make("workers")
    assert groups.find("workers") is groups.find_or_make("workers") is group
    assert list(groups) == [group]
    assert len(groups) == 1


def test_a_name_that_line_groups_have(node, groups):
    node.broker.topic("mails").group("workers")
    refused(Code.INCONSISTENT_GROUP_PROTOCOL, groups.find_or_make, "workers")
    refused(Code.INCONSISTENT_GROUP_PROTOCOL, groups.check_commit, "workers", -1, "", None)
    refused(Code.INCONSISTENT_GROUP_PROTOCOL, groups.check_commit, "workers", 3, "somebody", None)
    refused(Code.INCONSISTENT_GROUP_PROTOCOL, groups.commit_offsets, "workers", {PLACE: Committed(1)})
    refused(Code.INCONSISTENT_GROUP_PROTOCOL, groups.add_pending, "workers", 7, {PLACE: Committed(1)})
    assert len(groups) == 0


def test_a_line_group_cannot_have_the_name_of_one(node, groups):
    start(groups.find_or_make("workers"))
    with pytest.raises(BusyError, match="the group belongs to Kafka clients"):
        node.broker.topic("orders").group("workers")
    node.broker.topic("orders").group("others")


def test_a_group_without_anything_is_in_nobodys_way(node, groups):
    group = groups.find_or_make("workers")
    id = start(group)
    group.leave(id, None)
    node.broker.topic("orders").group("workers")
    assert groups.find("workers") is None


def test_too_many_groups(time):
    groups = make_node(time, max_groups=2).groups
    groups.commit_offsets("a", {PLACE: Committed(1)})
    start(groups.find_or_make("b"))
    refused(Code.GROUP_MAX_SIZE_REACHED, groups.find_or_make, "c")
    refused(Code.GROUP_MAX_SIZE_REACHED, groups.check_commit, "c", -1, "", None)
    groups.remove("a")
    groups.find_or_make("c")
    groups.find_or_make("d")  # nothing is lost with c
    assert [group.name for group in groups] == ["b", "d"]


def test_it_is_logged_that_there_are_too_many_groups(time, caplog):
    groups = make_node(time, max_groups=1).groups
    groups.commit_offsets("a", {PLACE: Committed(1)})
    for _ in range(3):
        refused(Code.GROUP_MAX_SIZE_REACHED, groups.find_or_make, "b")
    assert [record.getMessage() for record in caplog.records] == [
        "further groups are refused: there are 1; raise --max-groups, or delete some"
    ]


def test_offsets_that_take_too_much(node, groups, monkeypatch, caplog):
    groups.commit_offsets("a", {PLACE: Committed(1)})
    monkeypatch.setattr("gstream.storage.facts.MAX_BYTES", node.facts.held_bytes - 1)
    refused(Code.GROUP_MAX_SIZE_REACHED, groups.commit_offsets, "b", {PLACE: Committed(1)})
    refused(Code.GROUP_MAX_SIZE_REACHED, groups.commit_offsets, "a", {PLACE: Committed(2), ("orders", 0): Committed(1)})
    refused(Code.GROUP_MAX_SIZE_REACHED, groups.add_pending, "a", 7, {("orders", 0): Committed(1)})
    assert [group.name for group in groups] == ["a"]
    assert "further offsets are refused" in caplog.text
    groups.commit_offsets("a", {PLACE: Committed(2)})  # what is there goes on
    assert groups.find("a").offsets.get(PLACE).offset == 2


def test_that_there_are_too_many_groups_is_not_found_out_again_at_once(time):
    groups = make_node(time, max_groups=1).groups
    groups.commit_offsets("a", {PLACE: Committed(1)})
    refused(Code.GROUP_MAX_SIZE_REACHED, groups.find_or_make, "b")
    groups.find("a").offsets.clear()
    refused(Code.GROUP_MAX_SIZE_REACHED, groups.find_or_make, "b")  # thousands are not looked at for each one refused
    time.sleep(module.LOOK_AGAIN_SECONDS)
    groups.find_or_make("b")
    assert [group.name for group in groups] == ["b"]


def test_what_the_members_of_all_groups_take(groups, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 3000)
    groups.check_room()
    group = groups.find_or_make("workers")
    id = start(group, protocols=(("range", bytes(2000)),))
    assert groups.held_bytes > 3000
    refused(Code.GROUP_MAX_SIZE_REACHED, groups.check_room)
    group.leave(id, None)
    assert groups.held_bytes == 0


def test_a_group_is_removed(groups, node):
    group = groups.find_or_make("workers")
    id = start(group)
    groups.commit_offsets("workers", {PLACE: Committed(1)})
    groups.add_pending("workers", 7, {PLACE: Committed(1)})
    refused(Code.NON_EMPTY_GROUP, groups.remove, "workers")
    group.leave(id, None)
    groups.remove("workers")
    assert (group.state, groups.find("workers")) == (State.DEAD, None)
    assert not groups.is_pending("workers", PLACE)
    assert node.facts.under("group/") == node.facts.under("pending/") == node.facts.under("topic/orders/offset") == {}
    refused(Code.GROUP_ID_NOT_FOUND, groups.remove, "workers")


def test_who_did_not_get_in_leaves_no_group(groups):
    group = groups.find_or_make("workers")
    groups.drop_unused(group)
    assert len(groups) == 0
    groups.drop_unused(group)
    for use in (lambda group: group.join(joining(needs_id=True)), start):
        group = groups.find_or_make("workers")
        use(group)
        groups.drop_unused(group)
        assert groups.find("workers") is group


# --- committing


def test_what_is_committed(groups, node):
    groups.commit_offsets("workers", {PLACE: Committed(7, 0, "so far"), ("mails", 0): Committed(8)})
    now_ms = int(node.engine.clock() * 1000)
    assert groups.find("workers").offsets.get(PLACE) == Committed(7, 0, "so far", now_ms)
    groups.commit_offsets("workers", {PLACE: Committed(9, time_ms=5)})
    assert groups.find("workers").offsets.get(PLACE) == Committed(9, time_ms=5)


def test_who_may_commit(groups):
    groups.check_commit("workers", -1, "", None)
    assert len(groups) == 0
    refused(Code.ILLEGAL_GENERATION, groups.check_commit, "workers", 0, "somebody", None)
    id = start(groups.find_or_make("workers"))
    groups.check_commit("workers", 1, id, None)
    refused(Code.UNKNOWN_MEMBER_ID, groups.check_commit, "workers", -1, "", None)
    groups.check_txn_commit("workers", "", None, -1)
    groups.check_txn_commit("workers", id, None, 1)
    refused(Code.ILLEGAL_GENERATION, groups.check_txn_commit, "workers", id, None, 2)
    refused(Code.UNKNOWN_MEMBER_ID, groups.check_txn_commit, "workers", "somebody", None, 1)
    refused(Code.ILLEGAL_GENERATION, groups.check_txn_commit, "others", "somebody", None, 1)


def test_offsets_go_with_their_topic(groups, node):
    groups.commit_offsets("workers", {PLACE: Committed(7), ("mails", 0): Committed(8)})
    node.broker.remove("orders")
    node.broker.topic("orders")
    assert [place for place, _ in groups.find("workers").offsets] == [("mails", 0)]


@pytest.mark.parametrize("commits", [True, False])
def test_offsets_that_a_transaction_commits(groups, commits):
    groups.commit_offsets("workers", {PLACE: Committed(1)})
    groups.add_pending("workers", 7, {PLACE: Committed(2)})
    groups.add_pending("workers", 8, {("mails", 0): Committed(3)})
    assert groups.is_pending("workers", PLACE)
    assert groups.find("workers").offsets.get(PLACE).offset == 1
    groups.end_pending("workers", 7, commits)
    assert not groups.is_pending("workers", PLACE)
    assert groups.is_pending("workers", ("mails", 0))
    assert groups.find("workers").offsets.get(PLACE).offset == (2 if commits else 1)
    groups.end_pending("workers", 7, True)
    assert groups.find("workers").offsets.get(PLACE).offset == (2 if commits else 1)


def test_a_transaction_commits_in_a_removed_topic(groups, node):
    groups.add_pending("workers", 7, {PLACE: Committed(2), ("mails", 0): Committed(3)})
    node.broker.remove("orders")
    groups.end_pending("workers", 7, True)
    assert [place for place, _ in groups.find("workers").offsets] == [("mails", 0)]
    assert node.facts.under("topic/orders/offset") == {}


def test_a_transaction_commits_in_a_topic_that_was_removed_and_made_again(groups, node):
    groups.add_pending("workers", 7, {PLACE: Committed(2), ("mails", 0): Committed(3)})
    node.broker.remove("orders")
    node.broker.topic("orders")
    groups.end_pending("workers", 7, True)
    assert dict(groups.find("workers").offsets).keys() == {("mails", 0)}


def test_offsets_of_no_topic_are_not_committed(groups, node):
    groups.add_pending("workers", 7, {("nothing", 0): Committed(2)})
    groups.end_pending("workers", 7, True)
    assert node.facts.under("topic/nothing/") == {}


def test_a_transaction_of_nobody_ends(groups):
    assert groups.end_pending("workers", 7, True) is None
    assert groups.add_pending("workers", 7, {}) is None
    assert not groups.is_pending("workers", PLACE)


# --- over a restart


def test_members_go_on_after_a_restart(node, groups, time):
    group = groups.find_or_make("my/workers")
    id = start(group, protocols=BOTH, session_seconds=5)
    restored = again(node, time).find("my/workers")
    assert (restored.state, restored.generation) == (State.STABLE, 1)
    restored.heartbeat(1, id, None)
    assert restored.sync(1, id, None, ()).get(block=False).assignment == b"all"
    assert restored.join(joining(protocols=BOTH)).ready() is False
    assert restored.join(joining(id, protocols=BOTH)).get(block=False).generation == 2


def test_a_restart_while_all_join(node, groups, time):
    group = groups.find_or_make("workers")
    first = start(group)
    second = group.join(joining())
    group.join(joining(first))
    assert second.get(block=False).generation == 2
    restored = again(node, time).find("workers")
    assert (restored.state, restored.generation) == (State.STABLE, 1)
    with pytest.raises(KafkaError):
        restored.heartbeat(2, first, None)


def test_offsets_are_there_after_a_restart(node, groups, time):
    groups.commit_offsets("workers", {PLACE: Committed(7, 0, "so far"), ("mails", 0): Committed(8)})
    groups.commit_offsets("", {PLACE: Committed(9)})
    restored = again(node, time)
    assert dict(restored.find("workers").offsets) == dict(groups.find("workers").offsets)
    assert restored.find("").offsets.get(PLACE).offset == 9
    assert restored.find("workers").offsets.latest_ms == groups.find("workers").offsets.latest_ms


def test_a_transaction_commits_after_a_restart(node, groups, time):
    producer = node.transactions.start("billing", 60_000)
    node.transactions.add_group("billing", producer, "workers")
    groups.add_pending("workers", producer.id, {PLACE: Committed(2)})
    node = make_node(time, node.engine)
    assert node.groups.is_pending("workers", PLACE)
    node.transactions.end("billing", producer, commits=True)
    assert node.groups.find("workers").offsets.get(PLACE).offset == 2


def test_what_waits_for_a_transaction_that_is_lost_is_forgotten_at_a_restart(node, groups, time, caplog):
    groups.add_pending("workers", 7, {PLACE: Committed(2)})
    restored = again(node, time)
    assert not restored.is_pending("workers", PLACE)  # nobody would ever end it
    assert node.facts.under("pending/") == {}
    assert "nothing is kept of" in caplog.text


def test_what_was_kept_differently_is_left_out(node, time, caplog):
    node.facts.put("group/workers", b"garbage")
    node.facts.put("topic/orders/offset/workers/0", b"garbage")
    node.facts.put("topic/orders/offset/workers/1", b"7 0 5 ")
    with caplog.at_level(logging.WARNING):
        restored = again(node, time)
    assert len(caplog.records) == 2
    assert list(restored.find("workers").offsets) == [(PLACE, Committed(7, 0, "", 5))]


def test_the_generation_goes_on_after_a_restart(node, groups, time):
    group = groups.find_or_make("workers")
    group.leave(start(group), None)
    restored = again(node, time).find("workers")
    assert (restored.state, restored.generation) == (State.EMPTY, 2)


def test_a_name_of_both_kinds_is_warned_of(node, groups, time, caplog):
    groups.commit_offsets("workers", {PLACE: Committed(1)})
    node.broker.group_guard = lambda _name: None  # as without --kafka
    node.broker.topic("mails").group("workers")
    module.Groups(node)
    assert "group 'workers' is one of Kafka's clients and one of the line protocol" in caplog.text


# --- how long they are kept


def pass_time(time, node, seconds):
    node.engine.clock.now += seconds
    time.sleep(seconds)


def test_a_group_without_members_is_forgotten_after_a_week(time, node, groups):
    group = groups.find_or_make("workers")
    id = start(group, session_seconds=1800)
    groups.commit_offsets("workers", {PLACE: Committed(1)})
    pass_time(time, node, 1700)
    group.leave(id, None)
    pass_time(time, node, WEEK - 3600)
    assert groups.find("workers") is group
    pass_time(time, node, 2 * 3600)
    assert groups.find("workers") is None
    assert node.facts.under("topic/orders/offset") == {}


def test_what_was_committed_last_counts(time, node, groups):
    groups.commit_offsets("workers", {PLACE: Committed(1)})
    pass_time(time, node, WEEK - 3600)
    groups.commit_offsets("workers", {("mails", 0): Committed(1)})
    pass_time(time, node, 3 * 3600)
    assert groups.find("workers") is not None
    pass_time(time, node, WEEK)
    assert groups.find("workers") is None


def test_a_group_with_members_is_kept(time, node, groups):
    group = groups.find_or_make("workers")
    id = start(group, session_seconds=1800)
    groups.commit_offsets("workers", {PLACE: Committed(1)})
    for _ in range(0, 2 * WEEK, 1700):
        pass_time(time, node, 1700)
        group.heartbeat(1, id, None)
    assert groups.find("workers") is group


def test_a_restart_does_not_make_it_younger(time, node, groups):
    groups.commit_offsets("workers", {PLACE: Committed(1)})
    groups.find_or_make("others").leave(start(groups.find_or_make("others")), None)
    groups.commit_offsets("others", {PLACE: Committed(1)})
    node.engine.clock.now += WEEK - 1800
    restored = again(node, time)
    pass_time(time, node, 3600)
    assert len(restored) == 0


def test_a_transaction_keeps_its_group(time, node, groups):
    groups.add_pending("workers", 7, {PLACE: Committed(1)})
    pass_time(time, node, 2 * WEEK)
    assert groups.find("workers") is not None


def test_a_group_that_has_nothing_is_forgotten_soon(time, node, groups):
    group = groups.find_or_make("workers")
    group.leave(start(group), None)
    pass_time(time, node, 3600)
    assert groups.find("workers") is None
    assert node.facts.under("group/") == {}


def test_many_groups_are_looked_at_in_pieces(time, node, groups, monkeypatch):
    monkeypatch.setattr(module, "LOOKED_AT_ONCE", 2)
    for number in range(5):
        groups.commit_offsets(str(number), {PLACE: Committed(1)})
    pass_time(time, node, WEEK + 3600)
    assert len(groups) == 0
    groups.find_or_make("workers")
    pass_time(time, node, 3600)
    assert len(groups) == 0, "it goes on looking"


# --- the end


def test_all_who_wait_are_told_that_the_server_stops(node, groups):
    first = member(node)
    asked = join(node)
    second = join(node, asked.reply.member_id)
    assert not second.is_answered
    node.stopping.set()
    assert second.reply.error_code == Code.COORDINATOR_NOT_AVAILABLE
    refused(Code.COORDINATOR_NOT_AVAILABLE, groups.check)
    refused(Code.COORDINATOR_NOT_AVAILABLE, groups.check_commit, "workers", first.generation, first.id, None)
    assert first.id in groups.find("workers").roster
