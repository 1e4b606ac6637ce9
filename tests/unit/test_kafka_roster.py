import pytest
from gevent.event import AsyncResult

from gstream.agenda import Agenda
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.member import MEMBER_BYTES, Joined, Listed, Member
from gstream.kafka.roster import Roster
from tests.unit.groups_ground import BOTH, RANGE, joining

TURNS = (("roundrobin", b"turns"),)


@pytest.fixture
def roster():
    return Roster()


def add(roster, id, **options):
    member = Member(id, joining(id, **options))
    roster.add(member)
    return member


def refusal(roster, id, instance_id=None):
    with pytest.raises(KafkaError) as caught:
        roster.find(id, instance_id)
    return caught.value.code


def test_members_by_their_ids(roster):
    first, second = add(roster, "a"), add(roster, "b", instance_id="two")
    assert list(roster) == [first, second]
    assert len(roster) == 2
    assert "a" in roster
    assert "c" not in roster
    assert roster.find("a", None) is first
    assert roster.find("b", "two") is roster.find("b", None) is second
    assert roster.find_static("two") is second
    assert roster.find_static("three") is None
    assert roster.find_static(None) is None


def test_who_is_no_member(roster):
    add(roster, "a")
    add(roster, "b", instance_id="two")
    assert refusal(roster, "c") is Code.UNKNOWN_MEMBER_ID
    assert refusal(roster, "a", "one") is Code.UNKNOWN_MEMBER_ID
    assert refusal(roster, "a", "two") is Code.FENCED_INSTANCE_ID


def test_the_first_one_leads_and_then_another(roster):
    first, second = add(roster, "a"), add(roster, "b")
    assert roster.leader == "a"
    roster.remove(first)
    assert roster.leader == "b"
    roster.remove(second)
    assert roster.leader is None


def test_one_leads_that_is_here(roster):
    add(roster, "a")
    assert not roster.elect()
    second = add(roster, "b")
    roster.await_join(second, AsyncResult())
    assert roster.elect()
    assert roster.leader == "b"
    assert roster.elect()
    assert roster.leader == "b"


def test_nobody_can_lead_nobody(roster):
    assert not roster.elect()


def test_who_waits_is_counted(roster):
    first, second = add(roster, "a"), add(roster, "b")
    assert not roster.all_join
    for member in (first, second, second):
        roster.await_join(member, AsyncResult())
    assert roster.joining_count == 2
    assert roster.all_join
    roster.answer_join(first, Joined(Code.NONE, "a"))
    roster.answer_join(first, Joined(Code.NONE, "a"))
    assert roster.joining_count == 1
    roster.remove(second)
    assert roster.joining_count == 0
    assert not roster.all_join
    roster.remove(first)
    assert roster.all_join


def test_who_was_given_an_id_is_waited_for(roster, time):
    roster.expect("a", time.agenda.at(time.now, lambda: None))
    assert not roster.all_join
    assert roster.forget_pending("a")
    assert not roster.forget_pending("a")
    assert roster.all_join


def test_it_is_no_more_pending_once_it_has_joined(roster):
    done = []
    agenda = Agenda(lambda: 0.0)
    roster.expect("a", agenda.at(0.0, lambda: done.append("a")))
    add(roster, "a")
    agenda.run_next()
    assert (done, roster.pending) == ([], {})


def test_what_all_support(roster):
    add(roster, "a", protocols=BOTH)
    assert roster.supports(RANGE)
    assert roster.supports(TURNS)
    second = add(roster, "b", protocols=RANGE)
    assert roster.supports(BOTH)
    assert not roster.supports(TURNS)
    assert roster.select() == "range"
    roster.update(second, joining("b", protocols=TURNS))
    assert roster.select() == "roundrobin"
    roster.remove(second)
    assert roster.select() == "range"


def test_nothing_that_all_support(roster):
    add(roster, "a", protocols=RANGE)
    add(roster, "b", protocols=TURNS)
    assert roster.select() is None


def test_a_protocol_that_is_named_twice_counts_once(roster):
    add(roster, "a", protocols=RANGE + RANGE)
    add(roster, "b", protocols=TURNS)
    assert not roster.supports(RANGE)


def test_as_the_leader_is_told(roster):
    add(roster, "a", protocols=BOTH)
    add(roster, "b", protocols=TURNS, instance_id="two")
    assert roster.listed("roundrobin") == [Listed("a", None, b"about turns"), Listed("b", "two", b"turns")]


def test_how_long_they_may_take(roster):
    assert roster.rebalance_seconds == 0
    add(roster, "a", rebalance_seconds=3)
    add(roster, "b", rebalance_seconds=2)
    assert roster.rebalance_seconds == 3


def test_a_static_member_gets_another_id(roster):
    member = add(roster, "a", instance_id="one")
    answer = AsyncResult()
    roster.await_join(member, answer)
    roster.replace(member, "b")
    assert answer.get(block=False).code is Code.FENCED_INSTANCE_ID
    assert roster.leader == "b"
    assert roster.find("b", "one") is member
    assert refusal(roster, "a") is Code.UNKNOWN_MEMBER_ID
    assert roster.joining_count == 0


def test_what_they_take():
    taken = []
    roster = Roster(taken.append)
    member = add(roster, "a", protocols=(("range", bytes(100)),))
    empty = MEMBER_BYTES + len("a") + len("range")
    assert taken == [empty + 100]
    roster.assign(member, bytes(50))
    roster.assign(member, bytes(20))
    assert sum(taken) == empty + 120
    roster.update(member, joining("a", protocols=(("range", bytes(10)),)))
    assert sum(taken) == empty + 30
    roster.clear()
    assert sum(taken) == 0
