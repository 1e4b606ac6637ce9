from gevent.event import AsyncResult

from gstream.kafka.codes import Code
from gstream.kafka.member import MEMBER_BYTES, Member, Synced
from tests.unit.groups_ground import BOTH, joining


def test_it_says_something_to_each_protocol():
    member = Member("a", joining(protocols=BOTH))
    assert member.metadata("roundrobin") == b"about turns"
    assert member.metadata("sticky") == b""
    assert member.metadata(None) == b""


def test_it_says_something_else_when_it_joins_again():
    member = Member("a", joining(client_id="me"))
    member.update(joining("a", protocols=BOTH, session_seconds=1, rebalance_seconds=2, client_id="you"))
    assert (member.protocols, member.session_seconds, member.rebalance_seconds) == (BOTH, 1, 2)
    assert (member.id, member.client_id) == ("a", "you")


def test_who_waits_is_excused_as_long_as_somebody_is_there():
    is_gone = False
    member = Member("a", joining(is_gone=lambda: is_gone))
    assert not member.waits
    member.joins = AsyncResult()
    assert member.waits
    member.joins, member.syncs = None, AsyncResult()
    assert member.waits
    is_gone = True
    assert not member.waits


def test_it_is_answered_once():
    member = Member("a", joining())
    answer = member.syncs = AsyncResult()
    member.answer_sync(Synced(Code.NONE, b"first"))
    member.answer_sync(Synced(Code.NONE, b"second"))
    assert answer.get(block=False).assignment == b"first"


def test_what_it_takes():
    member = Member("a", joining(protocols=(("range", bytes(100)), ("roundrobin", bytes(10)))))
    member.assignment = bytes(5)
    assert member.size == MEMBER_BYTES + len("a") + len("range") + len("roundrobin") + 115


def test_it_does_not_die_any_more(time):
    done = []
    member = Member("a", joining())
    member.entry = time.agenda.at(time.now, lambda: done.append("dead"))
    member.forget_time()
    member.forget_time()
    time.run()
    assert (done, member.entry) == ([], None)
