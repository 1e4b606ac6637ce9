import pytest

from gstream.commit import Commit
from gstream.kafka import group as module
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Offsets
from gstream.kafka.group import Group, State
from gstream.storage.facts import Facts
from tests.unit.groups_ground import BOTH, RANGE, joining


@pytest.fixture
def kept():
    """The states in which the group was kept."""
    return []


@pytest.fixture
def group(time, kept):
    return make_group(time, keep=lambda group: kept.append((group.state, group.generation)))


def make_group(time, **options):
    return Group("workers", time.agenda, Offsets(Facts(), "workers"), **options)


def joined(answer):
    """What somebody was told."""
    assert answer.ready(), "nothing yet"
    return answer.get()


def refused(code, action, *args, **options):
    with pytest.raises(KafkaError) as caught:
        action(*args, **options)
    assert caught.value.code is code


def refused_sync(group, code, told, generation=None, **options):
    generation = told.generation if generation is None else generation
    refused(code, group.sync, generation, told.member_id, None, (), **options)


def start(group, *others, **options):
    """A leader, and so many others; all have their part of the work."""
    told = joined(group.join(joining(**options)))
    if others:
        answers = [group.join(joining(**{**options, **other})) for other in others]
        leader = group.join(joining(told.member_id, **options))
        told, *rest = (joined(answer) for answer in (leader, *answers))
    else:
        rest = []
    everybody = [told, *rest]
    waiting = [group.sync(each.generation, each.member_id, None, ()) for each in rest]
    shares = [(each.member_id, b"part %d" % number) for number, each in enumerate(everybody)]
    waiting.append(group.sync(told.generation, told.member_id, None, shares))
    assert all(answer.get(block=False).code is Code.NONE for answer in waiting)
    assert group.state is State.STABLE
    return everybody


# --- the first one


def test_a_new_group_is_empty(group):
    assert (group.state, group.generation, group.protocol_type, len(group.roster)) == (State.EMPTY, 0, None, 0)


def test_who_comes_first_leads_and_is_told_at_once(group):
    told = joined(group.join(joining(client_id="me")))
    assert told.code is Code.NONE
    assert told.member_id.startswith("me-")
    assert told.leader == told.member_id
    assert (told.generation, told.protocol_type, told.protocol) == (1, "consumer", "range")
    assert told.members == [(told.member_id, None, b"about range")]
    assert not told.skips_assignment
    assert group.state is State.COMPLETING


def test_the_leader_shares_the_work_out(group, kept):
    told = joined(group.join(joining()))
    answer = group.sync(1, told.member_id, None, [(told.member_id, b"all")])
    assert joined(answer) == (Code.NONE, b"all", "consumer", "range")
    assert group.state is State.STABLE
    assert kept == [(State.COMPLETING, 1)]


def test_who_gets_nothing_is_told_so(group):
    told = joined(group.join(joining()))
    assert joined(group.sync(1, told.member_id, None, [("somebody", b"all")])).assignment == b""


def test_two_steps(group):
    asked = joined(group.join(joining(needs_id=True, client_id="me")))
    assert asked.code is Code.MEMBER_ID_REQUIRED
    assert asked.member_id.startswith("me-")
    assert (len(group.roster), group.state, group.generation) == (0, State.EMPTY, 0)
    told = joined(group.join(joining(asked.member_id, needs_id=True)))
    assert (told.code, told.member_id, told.generation) == (Code.NONE, asked.member_id, 1)


def test_a_static_member_needs_one_step(group):
    told = joined(group.join(joining(instance_id="one", needs_id=True)))
    assert told.code is Code.NONE
    assert told.member_id.startswith("one-")
    assert told.members[0].instance_id == "one"


def test_an_id_is_forgotten_with_which_nobody_joins(group, time):
    asked = joined(group.join(joining(needs_id=True, session_seconds=3)))
    time.sleep(3)
    refused(Code.UNKNOWN_MEMBER_ID, group.join, joining(asked.member_id))


def test_an_id_is_not_enough_for_a_static_member(group):
    asked = joined(group.join(joining(needs_id=True)))
    refused(Code.UNKNOWN_MEMBER_ID, group.join, joining(asked.member_id, instance_id="one"))


def test_an_unknown_member(group):
    refused(Code.UNKNOWN_MEMBER_ID, group.join, joining("somebody"))
    refused(Code.UNKNOWN_MEMBER_ID, group.sync, 0, "somebody", None, ())
    refused(Code.UNKNOWN_MEMBER_ID, group.heartbeat, 0, "somebody", None)
    refused(Code.UNKNOWN_MEMBER_ID, group.leave, "somebody", None)
    refused(Code.UNKNOWN_MEMBER_ID, group.leave, "", "instance")
    refused(Code.UNKNOWN_MEMBER_ID, group.check_commit, 0, "somebody", None)


@pytest.mark.parametrize("more", [{"protocols": ()}, {"protocol_type": ""}])
def test_who_names_no_protocol_is_refused(group, more):
    refused(Code.INCONSISTENT_GROUP_PROTOCOL, group.join, joining(**more))


# --- others


def test_all_join_the_next_generation(group):
    first = joined(group.join(joining(protocols=BOTH)))
    group.sync(1, first.member_id, None, [(first.member_id, b"all")])
    second = group.join(joining(protocols=BOTH))
    assert not second.ready()
    assert group.state is State.PREPARING
    refused(Code.REBALANCE_IN_PROGRESS, group.heartbeat, 1, first.member_id, None)
    again = group.join(joining(first.member_id, protocols=BOTH))
    first, second = joined(again), joined(second)
    assert (first.generation, second.generation) == (2, 2)
    assert first.leader == second.leader == first.member_id
    assert [each.id for each in first.members] == [first.member_id, second.member_id]
    assert second.members == ()


def test_followers_wait_for_the_leader(group):
    first = joined(group.join(joining()))
    second = group.join(joining())
    first = joined(group.join(joining(first.member_id)))
    second = joined(second)
    answer = group.sync(2, second.member_id, None, ())
    assert not answer.ready()
    refused(Code.ILLEGAL_GENERATION, group.sync, 1, second.member_id, None, ())
    shares = [(first.member_id, b"one half"), (second.member_id, b"the other")]
    assert joined(group.sync(2, first.member_id, None, shares)).assignment == b"one half"
    assert joined(answer).assignment == b"the other"


def test_who_asks_late_is_answered_at_once(group):
    first, second = start(group, {})
    assert joined(group.sync(2, second.member_id, None, ())).assignment == b"part 1"
    assert joined(group.sync(2, first.member_id, None, [(first.member_id, b"other")])).assignment == b"part 0"


def test_who_comes_while_the_work_is_shared_out_makes_all_join_again(group):
    first = joined(group.join(joining()))
    second = group.join(joining())
    first = joined(group.join(joining(first.member_id)))
    second = joined(second)
    waiting = group.sync(2, second.member_id, None, ())
    third = group.join(joining())
    assert joined(waiting).code is Code.REBALANCE_IN_PROGRESS
    refused_sync(group, Code.REBALANCE_IN_PROGRESS, first)
    again = [group.join(joining(each.member_id)) for each in (first, second)]
    assert {joined(answer).generation for answer in (third, *again)} == {3}


def test_the_protocol_that_most_like_best(group):
    turns = tuple(reversed(BOTH))
    first = joined(group.join(joining(protocols=BOTH)))
    others = [group.join(joining(protocols=turns)) for _ in range(2)]
    first = joined(group.join(joining(first.member_id, protocols=BOTH)))
    assert first.protocol == "roundrobin"
    assert [each.metadata for each in first.members] == [b"about turns"] * 3
    assert {joined(answer).protocol for answer in others} == {"roundrobin"}


def test_the_protocol_that_all_support(group):
    first = joined(group.join(joining(protocols=BOTH)))
    second = group.join(joining(protocols=(("roundrobin", b""),)))
    assert joined(group.join(joining(first.member_id, protocols=BOTH))).protocol == "roundrobin"
    assert joined(second).protocol == "roundrobin"


@pytest.mark.parametrize("more", [{"protocols": (("sticky", b""),)}, {"protocol_type": "connect"}, {"protocols": ()}])
def test_who_has_no_protocol_in_common_is_refused(group, more):
    start(group)
    refused(Code.INCONSISTENT_GROUP_PROTOCOL, group.join, joining(**more))
    assert group.state is State.STABLE


@pytest.mark.parametrize("more", [{"protocol_type": "connect"}, {"protocol": "sticky"}])
def test_who_is_wrong_about_the_protocol_is_told_so(group, more):
    told = joined(group.join(joining()))
    refused_sync(group, Code.INCONSISTENT_GROUP_PROTOCOL, told, **more)
    right = {"protocol_type": "consumer", "protocol": "range"}
    assert joined(group.sync(1, told.member_id, None, (), **right)).code is Code.NONE


def test_too_many_members(group, monkeypatch):
    monkeypatch.setattr(module, "MAX_MEMBERS", 2)
    start(group)
    asked = joined(group.join(joining(needs_id=True)))
    assert asked.code is Code.MEMBER_ID_REQUIRED
    refused(Code.GROUP_MAX_SIZE_REACHED, group.join, joining(needs_id=True))
    refused(Code.GROUP_MAX_SIZE_REACHED, group.join, joining())
    group.join(joining(asked.member_id))
    assert len(group.roster) == 2


def test_the_generations_begin_again(group):
    group.generation = module.MAX_GENERATION
    assert joined(group.join(joining())).generation == 1


# --- joining again


def test_nothing_new_in_a_stable_group(group):
    _, second = start(group, {})
    told = joined(group.join(joining(second.member_id)))
    assert (told.code, told.generation, told.members) == (Code.NONE, 2, ())
    assert group.state is State.STABLE


def test_a_leader_who_joins_again_wants_all_to(group):
    first, second = start(group, {})
    answer = group.join(joining(first.member_id))
    assert not answer.ready()
    group.join(joining(second.member_id))
    assert joined(answer).generation == 3


def test_something_new_makes_all_join_again(group):
    first, second = start(group, {})
    answer = group.join(joining(second.member_id, protocols=(("range", b"other topics"),)))
    assert not answer.ready()
    first = joined(group.join(joining(first.member_id)))
    assert [each.metadata for each in first.members] == [b"about range", b"other topics"]


def test_who_missed_the_answer_gets_it_again(group):
    first = joined(group.join(joining()))
    assert joined(group.join(joining(first.member_id))) == first
    assert group.state is State.COMPLETING


def test_who_asks_twice_is_answered_once(group):
    first, _ = start(group, {})
    group.join(joining())
    before = group.join(joining(first.member_id))
    after = group.join(joining(first.member_id))
    assert joined(before).code is Code.REBALANCE_IN_PROGRESS
    assert not after.ready()
    assert group.roster.joining_count == 2


def test_who_asks_twice_for_its_part_gets_it_once(group):
    first = joined(group.join(joining()))
    second = group.join(joining())
    first = joined(group.join(joining(first.member_id)))
    second = joined(second)
    before = group.sync(2, second.member_id, None, ())
    after = group.sync(2, second.member_id, None, ())
    assert joined(before).code is Code.REBALANCE_IN_PROGRESS
    group.sync(2, first.member_id, None, [(second.member_id, b"half")])
    assert joined(after).assignment == b"half"


# --- going


def test_who_leaves_makes_the_others_join_again(group):
    first, second = start(group, {})
    group.leave(first.member_id, None)
    assert group.state is State.PREPARING
    told = joined(group.join(joining(second.member_id)))
    assert (told.generation, told.leader) == (3, second.member_id)


def test_the_last_one_leaves(group, kept):
    (first,) = start(group)
    group.leave(first.member_id, None)
    assert (group.state, group.generation, group.protocol) == (State.EMPTY, 2, None)
    assert group.protocol_type == "consumer"
    assert kept[-1] == (State.EMPTY, 2)
    refused(Code.UNKNOWN_MEMBER_ID, group.heartbeat, 2, first.member_id, None)


def test_another_kind_of_client_may_use_an_empty_group(group):
    (first,) = start(group)
    group.leave(first.member_id, None)
    told = joined(group.join(joining(protocol_type="connect", protocols=(("sessioned", b""),))))
    assert (told.protocol_type, told.protocol, told.generation) == ("connect", "sessioned", 3)


def test_an_id_that_was_given_is_given_back(group):
    asked = joined(group.join(joining(needs_id=True)))
    group.leave(asked.member_id, None)
    refused(Code.UNKNOWN_MEMBER_ID, group.join, joining(asked.member_id))


def test_who_leaves_while_it_joins(group):
    start(group)
    answer = group.join(joining())
    id = next(member.id for member in group.roster if member.joins is answer)
    group.leave(id, None)
    assert joined(answer).code is Code.UNKNOWN_MEMBER_ID


def test_the_rest_is_told_when_the_last_one_waited_for_leaves(group):
    first, second = start(group, {})
    answer = group.join(joining(second.member_id, protocols=BOTH))
    group.leave(first.member_id, None)
    assert joined(answer).generation == 3


def test_who_is_not_heard_of_is_taken_for_dead(group, time):
    first, second = start(group, {"session_seconds": 5}, session_seconds=8)
    time.sleep(4)
    group.heartbeat(2, first.member_id, None)
    time.sleep(1)
    assert group.state is State.PREPARING
    assert [member.id for member in group.roster] == [first.member_id]
    refused(Code.UNKNOWN_MEMBER_ID, group.heartbeat, 2, second.member_id, None)
    assert joined(group.join(joining(first.member_id, session_seconds=8))).generation == 3


def test_heartbeats_keep_alive(group, time):
    (first,) = start(group, session_seconds=5)
    for _ in range(10):
        time.sleep(4.9)
        group.heartbeat(1, first.member_id, None)
    assert group.state is State.STABLE


def test_heartbeats_cost_no_entries(group, time):
    (first,) = start(group, session_seconds=5)
    before = len(time.agenda._entries)
    for _ in range(100):
        group.heartbeat(1, first.member_id, None)
    assert len(time.agenda._entries) == before


def test_a_shorter_session_counts_at_once(group, time):
    (first,) = start(group, session_seconds=1000)
    told = joined(group.join(joining(first.member_id, session_seconds=1)))
    group.sync(told.generation, first.member_id, None, ())
    time.sleep(1)
    assert group.state is State.EMPTY


@pytest.mark.parametrize("state", [State.COMPLETING, State.STABLE])
def test_a_heartbeat_while_all_is_well(group, state):
    told = joined(group.join(joining()))
    if state is State.STABLE:
        group.sync(1, told.member_id, None, ())
    group.heartbeat(1, told.member_id, None)
    refused(Code.ILLEGAL_GENERATION, group.heartbeat, 0, told.member_id, None)
    refused(Code.ILLEGAL_GENERATION, group.heartbeat, 2, told.member_id, None)
    assert group.state is state


def test_who_waits_to_join_need_not_say_that_it_lives(group, time):
    first, _ = start(group, {"session_seconds": 1000}, session_seconds=1000, rebalance_seconds=500)
    answer = group.join(joining(session_seconds=5, rebalance_seconds=500))
    time.sleep(400)
    assert not answer.ready()
    assert len(group.roster) == 3
    assert first.member_id in group.roster


def test_who_waits_and_is_gone_is_taken_for_dead(group, time):
    start(group, session_seconds=1000)
    answer = group.join(joining(session_seconds=5, is_gone=lambda: True))
    time.sleep(5)
    assert joined(answer).code is Code.UNKNOWN_MEMBER_ID
    assert len(group.roster) == 1


# --- who is not waited for


def test_who_does_not_join_again_in_time_is_out(group, time):
    first, second = start(group, {}, session_seconds=1000, rebalance_seconds=20)
    answer = group.join(joining(second.member_id, protocols=BOTH, session_seconds=1000, rebalance_seconds=20))
    time.sleep(19.9)
    assert not answer.ready()
    time.sleep(0.1)
    told = joined(answer)
    assert (told.generation, told.leader) == (3, second.member_id)
    refused(Code.UNKNOWN_MEMBER_ID, group.join, joining(first.member_id))


def test_the_longest_time_that_somebody_wants_counts(group, time):
    first, _ = start(group, {"rebalance_seconds": 50}, session_seconds=1000, rebalance_seconds=20)
    answer = group.join(joining(first.member_id, session_seconds=1000, rebalance_seconds=20))
    time.sleep(49)
    assert not answer.ready()
    time.sleep(1)
    assert joined(answer).generation == 3


def test_nobody_joins_again(group, time):
    first, second = start(group, {}, {}, session_seconds=1000, rebalance_seconds=20)[:2]
    group.leave(first.member_id, None)
    time.sleep(20)
    assert (group.state, len(group.roster)) == (State.EMPTY, 0)
    refused(Code.UNKNOWN_MEMBER_ID, group.join, joining(second.member_id))


def test_who_was_given_an_id_is_waited_for(group, time):
    (first,) = start(group)
    asked = joined(group.join(joining(needs_id=True, session_seconds=5)))
    answer = group.join(joining(first.member_id))
    assert not answer.ready()
    time.sleep(5)
    assert joined(answer).generation == 2
    refused(Code.UNKNOWN_MEMBER_ID, group.join, joining(asked.member_id))


def test_who_does_not_ask_for_its_part_is_out(group, time):
    first = joined(group.join(joining(session_seconds=1000, rebalance_seconds=20)))
    second = group.join(joining(session_seconds=1000, rebalance_seconds=20))
    first = joined(group.join(joining(first.member_id, session_seconds=1000, rebalance_seconds=20)))
    second = joined(second)
    waiting = group.sync(2, second.member_id, None, ())
    time.sleep(20)  # the leader does nothing
    assert joined(waiting).code is Code.REBALANCE_IN_PROGRESS
    assert [member.id for member in group.roster] == [second.member_id]
    told = joined(group.join(joining(second.member_id)))
    assert (told.generation, told.leader) == (3, second.member_id)


def test_all_have_asked_for_their_part(group, time):
    start(group, {}, session_seconds=1000, rebalance_seconds=20)
    time.sleep(30)
    assert (group.state, len(group.roster)) == (State.STABLE, 2)


# --- a group that waits for further members


def test_a_new_group_waits_a_little(time):
    group = make_group(time, delay_seconds=3)
    first = group.join(joining(rebalance_seconds=60))
    assert (first.ready(), group.state) == (False, State.PREPARING)
    time.sleep(2)
    second = group.join(joining(rebalance_seconds=60))
    time.sleep(1)
    assert not first.ready()  # somebody came: some more may come
    time.sleep(3)
    assert joined(first).generation == joined(second).generation == 1
    assert len(joined(first).members) == 2


def test_a_new_group_does_not_wait_for_ever(time):
    group = make_group(time, delay_seconds=3)
    first = group.join(joining(rebalance_seconds=10))
    for _ in range(4):
        time.sleep(2)
        group.join(joining(rebalance_seconds=10))
    assert not first.ready()
    time.sleep(2)
    assert len(joined(first).members) == 5


def test_all_leave_a_group_that_waits(time):
    group = make_group(time, delay_seconds=3)
    answer = group.join(joining())
    group.leave(next(iter(group.roster)).id, None)
    assert joined(answer).code is Code.UNKNOWN_MEMBER_ID
    time.sleep(3)
    assert group.state is State.EMPTY
    group.join(joining())
    assert group.state is State.PREPARING


def test_only_a_new_group_waits(time):
    group = make_group(time, delay_seconds=3)
    answer = group.join(joining())
    time.sleep(3)
    first = joined(answer)
    second = group.join(joining())
    assert joined(group.join(joining(first.member_id))).generation == joined(second).generation == 2


# --- static members


def test_a_static_member_that_comes_back_gets_its_part(group):
    first, second = start(group, {"instance_id": "two"})
    told = joined(group.join(joining(instance_id="two")))
    assert told.member_id != second.member_id
    assert (told.code, told.generation, told.leader) == (Code.NONE, 2, first.member_id)
    assert group.state is State.STABLE
    assert joined(group.sync(2, told.member_id, "two", ())).assignment == b"part 1"
    group.heartbeat(2, first.member_id, None)


def test_its_old_self_is_fenced(group):
    _, second = start(group, {"instance_id": "two"})
    told = joined(group.join(joining(instance_id="two")))
    old = second.member_id
    refused(Code.FENCED_INSTANCE_ID, group.heartbeat, 2, old, "two")
    refused(Code.FENCED_INSTANCE_ID, group.sync, 2, old, "two", ())
    refused(Code.FENCED_INSTANCE_ID, group.leave, old, "two")
    refused(Code.FENCED_INSTANCE_ID, group.join, joining(old, instance_id="two"))
    refused(Code.FENCED_INSTANCE_ID, group.check_commit, 2, old, "two")
    refused(Code.UNKNOWN_MEMBER_ID, group.heartbeat, 2, old, None)
    group.heartbeat(2, told.member_id, "two")


@pytest.mark.parametrize("can_skip", [False, True])
def test_a_static_leader_comes_back(group, can_skip):
    first, second = start(group, {"instance_id": None}, instance_id="one")
    told = joined(group.join(joining(instance_id="one", can_skip=can_skip)))
    assert group.roster.leader == told.member_id
    assert told.skips_assignment is can_skip
    if can_skip:
        assert told.leader == told.member_id
        assert [each.id for each in told.members] == [second.member_id, told.member_id]
    else:  # it must not share the work out, and so it does not know that it leads
        assert (told.leader, told.members) == (first.member_id, ())
    assert group.state is State.STABLE


def test_it_is_told_when_its_new_id_is_kept(time):
    commits = []
    group = make_group(time, keep=lambda _group: commits[-1] if commits else None)
    start(group, {"instance_id": "two"})
    commits.append(Commit())
    answer = group.join(joining(instance_id="two"))
    assert not answer.ready()
    commits[0].is_done = True
    for action in commits[0]._links:
        action()
    assert joined(answer).code is Code.NONE


def test_it_comes_back_with_another_protocol(group):
    first, _ = start(group, {"instance_id": "two"}, protocols=BOTH)
    answer = group.join(joining(instance_id="two", protocols=(("roundrobin", b""),)))
    assert group.state is State.PREPARING
    told = joined(group.join(joining(first.member_id, protocols=BOTH)))
    assert (told.generation, told.protocol) == (3, "roundrobin")
    assert joined(answer).generation == 3


def test_it_comes_back_while_all_join(group):
    first, _ = start(group, {"instance_id": "two"})
    old = group.join(joining(next(m.id for m in group.roster if m.instance_id), protocols=BOTH, instance_id="two"))
    answer = group.join(joining(instance_id="two", protocols=BOTH))
    assert joined(old).code is Code.FENCED_INSTANCE_ID
    assert not answer.ready()
    told = joined(group.join(joining(first.member_id, protocols=BOTH)))
    assert len(told.members) == 2
    assert joined(answer).generation == told.generation


def test_it_comes_back_while_the_work_is_shared_out(group):
    first = joined(group.join(joining(instance_id="one")))
    second = group.join(joining(instance_id="two"))
    first = joined(group.join(joining(first.member_id, instance_id="one")))
    second = joined(second)
    waiting = group.sync(2, second.member_id, "two", ())
    answer = group.join(joining(instance_id="two"))
    assert joined(waiting).code is Code.FENCED_INSTANCE_ID
    refused(Code.REBALANCE_IN_PROGRESS, group.heartbeat, 2, first.member_id, "one")
    assert joined(group.join(joining(first.member_id, instance_id="one"))).generation == 3
    assert joined(answer).generation == 3


def test_a_static_member_that_is_away_is_not_waited_for_and_keeps_its_place(group, time):
    first, second = start(group, {"instance_id": "two"}, session_seconds=1000, rebalance_seconds=20)
    answer = group.join(joining(first.member_id, session_seconds=1000, rebalance_seconds=20))
    time.sleep(20)
    told = joined(answer)
    assert [each.id for each in told.members] == [first.member_id, second.member_id]


def test_only_static_members_and_all_are_away(group, time):
    first, second = start(group, {"instance_id": "two"}, instance_id="one", session_seconds=90, rebalance_seconds=20)
    group.join(joining(session_seconds=3, is_gone=lambda: True))
    time.sleep(80)
    assert (group.state, group.generation, len(group.roster)) == (State.PREPARING, 2, 2)
    answer = group.join(joining(second.member_id, instance_id="two", session_seconds=90, rebalance_seconds=20))
    told = joined(group.join(joining(first.member_id, instance_id="one", session_seconds=90, rebalance_seconds=20)))
    assert (told.generation, joined(answer).generation) == (3, 3)


def test_somebody_else_removes_a_static_member(group):
    first, _ = start(group, {"instance_id": "two"})
    group.leave("", "two")
    assert [member.id for member in group.roster] == [first.member_id]


# --- committing


def test_a_member_commits(group):
    (first,) = start(group)
    group.check_commit(1, first.member_id, None)
    refused(Code.ILLEGAL_GENERATION, group.check_commit, 0, first.member_id, None)
    refused(Code.ILLEGAL_GENERATION, group.check_commit, -1, first.member_id, None)
    refused(Code.UNKNOWN_MEMBER_ID, group.check_commit, 1, "somebody", None)


def test_a_commit_is_a_sign_of_life(group, time):
    (first,) = start(group, session_seconds=5)
    time.sleep(4)
    group.check_commit(1, first.member_id, None)
    time.sleep(4)
    assert group.state is State.STABLE


def test_nobody_commits_beside_the_members(group):
    refused_group = start(group)
    assert refused_group
    refused(Code.UNKNOWN_MEMBER_ID, group.check_commit, -1, "", None)
    group.check_commit(-1, "", None, in_transaction=True)


def test_anybody_commits_for_a_group_without_members(group):
    group.check_commit(-1, "", None)
    (first,) = start(group)
    group.leave(first.member_id, None)
    group.check_commit(-1, "", None)
    refused(Code.UNKNOWN_MEMBER_ID, group.check_commit, 2, first.member_id, None)


def test_commits_while_all_join(group):
    first, _ = start(group, {})
    group.join(joining())
    group.check_commit(2, first.member_id, None)


def test_no_commits_while_the_work_is_shared_out(group):
    told = joined(group.join(joining()))
    refused(Code.REBALANCE_IN_PROGRESS, group.check_commit, 1, told.member_id, None)
    group.check_commit(1, told.member_id, None, in_transaction=True)


# --- what is kept


def test_all_are_told_when_the_work_is_kept(time):
    commit = Commit()
    group = make_group(time, keep=lambda _group: commit)
    told = joined(group.join(joining()))
    answer = group.sync(1, told.member_id, None, [(told.member_id, b"all")])
    assert (answer.ready(), group.state) == (False, State.COMPLETING)
    commit.is_done = True
    for action in commit._links:
        action()
    assert joined(answer).assignment == b"all"
    assert group.state is State.STABLE


def test_what_is_kept_too_late_is_nothing(time):
    commit = Commit()
    group = make_group(time, keep=lambda _group: commit)
    told = joined(group.join(joining()))
    answer = group.sync(1, told.member_id, None, ())
    group.join(joining())
    assert joined(answer).code is Code.REBALANCE_IN_PROGRESS
    for action in commit._links:
        action()
    assert group.state is State.PREPARING


def test_it_says_what_it_takes(time):
    weights = []
    group = make_group(time, weigh=weights.append)
    first, second = start(group, {})
    taken = sum(weights)
    assert taken > 2 * 1024
    group.join(joining(first.member_id, protocols=(("range", bytes(1000)),)))
    assert sum(weights) == taken + 1000 - len(RANGE[0][1])
    asked = joined(group.join(joining(needs_id=True)))
    assert sum(weights) > taken + 1500
    group.leave(asked.member_id, None)
    group.leave(first.member_id, None)
    group.leave(second.member_id, None)
    assert sum(weights) == 0


def test_ids_that_nobody_has_joined_with_yet_are_weighed(time):
    weights = []
    group = make_group(time, weigh=weights.append)
    asked = joined(group.join(joining(needs_id=True, client_id="x" * 30_000)))
    assert len(asked.member_id) < 1100, "of a client's name no more is in its id than all replies have room for"
    assert sum(weights) == 1024 + len(asked.member_id)
    group.leave(asked.member_id, None)
    assert sum(weights) == 0


# --- the end


def test_all_who_wait_are_told_that_the_server_stops(group, time, kept):
    first = joined(group.join(joining(session_seconds=5)))
    second = group.join(joining(session_seconds=5))
    first = joined(group.join(joining(first.member_id, session_seconds=5)))
    second = joined(second)
    waiting = group.sync(2, second.member_id, None, ())
    group.stop(Code.COORDINATOR_NOT_AVAILABLE)
    assert joined(waiting).code is Code.COORDINATOR_NOT_AVAILABLE
    time.sleep(1000)
    assert (len(group.roster), kept) == (2, []), "nobody is missed any more"


def test_who_joins_is_told_that_the_server_stops(group, time):
    start(group)
    asked = joined(group.join(joining(needs_id=True)))
    answer = group.join(joining())
    group.stop(Code.COORDINATOR_NOT_AVAILABLE)
    assert joined(answer).code is Code.COORDINATOR_NOT_AVAILABLE
    assert asked.member_id not in group.roster.pending
    time.sleep(1000)
    assert len(group.roster) == 2


def test_a_removed_group_is_dead(group, time):
    asked = joined(group.join(joining(needs_id=True)))
    group.close()
    assert (group.state, len(group.roster.pending)) == (State.DEAD, 0)
    time.sleep(1000)
    refused(Code.UNKNOWN_MEMBER_ID, group.join, joining(asked.member_id))
    refused(Code.UNKNOWN_MEMBER_ID, group.sync, 0, asked.member_id, None, ())
