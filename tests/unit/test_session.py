"""A session: what a client is answered."""

from __future__ import annotations

import gevent
import pytest

from gstream import protocol
from gstream.errors import StorageError
from gstream.protocol import BANNER, encode_help, encode_http_refusal
from gstream.session import Session

UNKNOWN = b"- unknown no such command; h lists them"
BUSY = b"- busy this connection streams; s0 ends it"
DEAD_ALREADY = b"- args these are dead letters already; a1 ends it, n1 gives it back\n"
SOUGHT = b"ok\r\nok\r\n= 0 1 1\n= 1 1 2\n.\n+ 0\n= 0 1 1\n= 1 1 2\n.\n+ 1\n+ 0\n+ 2\n+ 2\n.\n"
COUNTED = b"ok\r\nok\r\n+ \n$ 0 1 1\na\n+ \n= 1 1 b\n- args b takes [0|1|2], as in b or b0\n"
NO_NAME = b"- name a name is 1 to 249 letters, digits, '.', '_' or '-'\n"
MADE = (
    b"+ log\n+ log\r\n- args the topic has 2 partitions; their number cannot be changed\n"
    + NO_NAME
    + b"topic.default 0\ntopic.log 0\n.\n"
)
LIMITS = (
    b"+ log\n+ log\npartitions 1\nmessages 0\nbytes 0\npublished 0\ndelayed 0\nretain.bytes 1\nretain.seconds 2.5\n"
    b"partition.0.oldest 0\npartition.0.end 0\n.\n"
)
REMOVED = b"ok\r\n+ default\r\n- name no such topic\nok\r\nb\n" + NO_NAME
CONSUMERS = b"- busy the topic has consumers\n"
CONVERSATIONS = {
    "nothing": (b"", b""),
    "the tutorial": (b"pHere we go!\nc\nq\n", b"ok\r\nHere we go!\n"),
    "the tutorial, CRLF": (b"pHere we go!\r\nc\r\nq\r\n", b"ok\r\nHere we go!\r\n"),
    "an empty message": (b"p\nc\nc\n", b"ok\r\n\n"),
    "in order": (b"p1\np2\np3\nc\nc\nc\n", b"ok\r\nok\r\nok\r\n1\n2\n3\n"),
    "each ends as its command did": (b"p1\r\np2\nc\nc\r\n", b"ok\r\nok\r\n1\n2\r\n"),
    "nothing there": (b"c\nc\r\nz\n", b"+ \n"),
    "fewer than asked for": (b"p1\np2\nc\nc\nc\nc\nz\n", b"ok\r\nok\r\n1\n2\n+ \n"),
    "nothing behind q": (b"p1\nq\np2\nc\nz\n", b"ok\r\n"),
    "the last line without its ending": (b"p1\nc", b"ok\r\n1\n"),
    "the last line with half a CRLF": (b"p1\nc\r", b"ok\r\n1\r\n"),
    "ping": (b"z\nztoken\r\n", b"+ \n+ token\r\n"),
    "help": (b"h\nh\r\n", encode_help(b"\n") + encode_help(b"\r\n")),
    "unknown": (b"connection: close\nquit\r\n\nz\n", UNKNOWN + b"\n" + UNKNOWN + b"\r\n+ \n"),
    "a bad argument": (
        b"wfive\nz\n",
        b"- args w takes [seconds[ n]], as in w5 or w0.5 100\n+ \n",
    ),
    "wait, not at all": (b"w0\nw0 5\r\n", b".\n.\r\n"),
    "wait, one": (b"pa\npb\nw0\nw\n", b"ok\r\nok\r\n= 0 1 a\n= 1 1 b\n"),
    "wait, a list": (b"pa\npb\npc\nw0 2\nw0 2\r\nw0 2\n", b"ok\r\n" * 3 + b"= 0 1 a\n= 1 1 b\n.\n= 2 1 c\r\n.\r\n.\n"),
    "wait, a list of one": (b"pa\nw5 1\n", b"ok\r\n= 0 1 a\n.\n"),
    "wait, counted bodies": (
        b"pa\rb\np\0\np\nw0 9\r\n",
        b"ok\r\n" * 3 + b"$ 0 1 3\r\na\rb\r\n$ 1 1 1\r\n\0\r\n= 2 1 \r\n.\r\n",
    ),
    "counted": (b"P3\na\nb\nP0\n\nP1\r\nx\r\nw0 9\n", b"+ 0\n+ 1\n+ 2\r\n$ 0 1 3\na\nb\n= 1 1 \n= 2 1 x\n.\n"),
    "counted, plain": (b"P3\na\nb\nc\r\n", b"+ 0\na\nb\r\n"),
    "once": (b"P1 id=7\na\nP1 id=7\nb\nP1\nc\nw0 9\n", b"+ 0\n+ 0\n+ 1\n= 0 1 a\n= 1 1 c\n.\n"),
    "later": (b"P1 delay=9\na\nw0\n", b"+ delayed\n.\n"),
    "topics": (b"ta\np1\nt\nc\nta\r\nc\n", b"+ a\nok\r\n+ default\n+ a\r\n1\n"),
    "groups": (b"ga\np1\ngb\nc\ng\nc\nga\nc\n", b"+ a\nok\r\n+ b\n1\n+ default\n1\n+ a\n1\n"),
    "lease": (b"p1\np2\nr0 2\na1 0\na0\nr0\n", b"ok\r\nok\r\n= 0 1 1\n= 1 1 2\n.\n+ 2\n- gone 0\n.\n"),
    "gone": (b"a5 6\r\nn5\ne5 1\nd5 why\n", b"- gone 5 6\r\n- gone 5\n- gone 5\n- gone 5\n"),
    "give back": (b"p1\nr\nn0\nr\n", b"ok\r\n= 0 1 1\n+ 0\n= 0 2 1\n"),
    "extend": (b"p1\nr\ne0 60\ne0\na0\n", b"ok\r\n= 0 1 1\n+ 0\n+ 0\n+ 1\n"),
    "dead": (
        b"p1\nr\nd0 no such user\ntdefault.dlq\nr\nd0\na0\n",
        b"ok\r\n= 0 1 1\n+ 0\n+ default.dlq\n= 0 1 1\n" + DEAD_ALREADY + b"+ 1\n",
    ),
    "busy": (
        b"s\nc\nw0\nr0\nf$\nt\ng\nxa\nma\nya\ns0\np1\nc\n",
        (BUSY + b"\n") * 9 + b".\nok\r\n1\n",
    ),
    "no stream to end": (b"s0\r\nz\n", b".\r\n+ \n"),
    "seek": (b"p1\np2\nw0 2\nf0\nv2\nf-1\nf^\nf$\nf9\nv\n", SOUGHT),
    "forget": (b"xa\nga\nxa\nxa\n", b"- name no such group\n+ a\n+ a\n- name no such group\n"),
    "forget in a topic that is none": (b"tno\nxa\n", b"+ no\n- name no such topic\n"),
    "make": (b"mlog partitions=2\nmlog\r\nmlog partitions=3\nm\nl\n", MADE),
    "make chooses nothing": (b"mlog partitions=2\nP1\na\ntlog\nP1\na\n", b"+ log\n+ 0\n+ log\n+ 0:0\n"),
    "make, with limits": (b"mlog retain-bytes=1\nmlog retain-seconds=2.5\nilog\n", LIMITS),
    "remove": (b"pa\nydefault\r\nydefault\nc\npb\nc\ny\n", REMOVED),
    "remove, with consumers": (
        b"pa\nr\nydefault\na0\nydefault\n",
        b"ok\r\n= 0 1 a\n" + CONSUMERS + b"+ 1\n+ default\n",
    ),
    "look where nothing is": (b"tno\nv\nl\n", b"+ no\n.\ntopic.default 0\n.\n"),
    "no such topic": (b"ino\r\n", b"- name no such topic\r\n"),
    "counting": (b"pa\npb\nb\nw0\nb0\nw0\nbx\n", COUNTED),
    "telnet's Ctrl-C": (b"\xff\xf4\xff\xfd\x06pone \xff\xff\r\nc\r\n", b"\xff\xfc\x06ok\r\none \xff\r\n"),
    "HTTP": (b"GET /c HTTP/1.1\r\nHost: localhost\r\n\r\npHello\n", encode_http_refusal()),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\npHello\nz\n", b""),
}


@pytest.fixture(params=CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def conversation(request):
    return request.param


def test_sent_at_once(conversation, server):
    sent, replies = conversation
    connection = server.run(sent)
    assert bytes(connection.written) == replies
    assert connection.flushed == len(replies)


def test_sent_byte_by_byte(conversation, server):
    sent, replies = conversation
    assert bytes(server.run(*(sent[at : at + 1] for at in range(len(sent)))).written) == replies


def test_a_read_may_give_nothing(conversation, server):
    sent, replies = conversation
    assert bytes(server.run(lambda: None, sent, lambda: None).written) == replies


def test_the_banner_comes_first(server):
    assert bytes(server.run(b"z\n", banner=BANNER).written) == BANNER + b"+ \n"


def test_too_long_a_line_is_refused_in_its_place(make_server):
    server = make_server(max_message_bytes=8)
    connection = server.run(b"p12345678\np123456789\nz123456789\r\nc\n")
    too_big = b"- toobig longer than 8 bytes, the server's --max-message"
    assert bytes(connection.written) == b"ok\r\n" + too_big + b"\n" + too_big + b"\r\n12345678\n"


FULL = b"- full no room within 12 bytes, the server's --max-memory; consume, or raise it"


def test_full_is_said_and_what_is_stored_stays(make_server):
    server = make_server(max_memory_bytes=12)
    connection = server.run(b"pHello\n", b"pworld!\r\n", b"c\n", b"pworld!\n", b"c\n")
    assert bytes(connection.written) == b"ok\r\n" + FULL + b"\r\nHello\nok\r\nworld!\n"


def test_of_a_burst_the_first_ones_are_stored_and_each_is_answered(make_server):
    server = make_server(max_memory_bytes=12)
    connection = server.run(b"pa\npb\npc\npd\npe\npf\nz\n")
    assert bytes(connection.written) == b"ok\r\n" * 4 + (FULL + b"\n") * 2 + b"+ \n"
    assert server.left() == [b"a", b"b", b"c", b"d"]


def test_a_large_burst_that_is_refused_is_answered_message_by_message(make_server):
    server = make_server(max_memory_bytes=12)
    connection = server.run(b"pa\n" * 5000)
    assert bytes(connection.written) == b"ok\r\n" * 4 + (FULL + b"\n") * 4996


def test_many_messages_come_in_order_and_others_get_turns(server):
    bodies = [b"%d" % number for number in range(100_000)]
    server.publish(*bodies)
    connection = server.run(b"c\n" * len(bodies))
    assert bytes(connection.written) == b"".join(body + b"\n" for body in bodies)
    assert connection.pauses > 0


def test_a_long_list_comes_in_order_and_others_get_turns(server):
    bodies = [b"%d" % number for number in range(10_000)]
    server.publish(*bodies)
    connection = server.run(b"w0 9999\n")
    lines = b"".join(b"= %d 1 %b\n" % (number, body) for number, body in enumerate(bodies[:-1]))
    assert bytes(connection.written) == lines + b".\n"
    assert connection.pauses > 0
    assert server.left() == [b"9999"]


def test_others_get_turns_among_many_commands(server):
    connection = server.run(b"z\n" * 10_000)
    assert bytes(connection.written) == b"+ \n" * 10_000
    assert connection.pauses >= 10


def test_the_connection_is_closed_softly(server):
    assert server.run(b"pa\nz\n").finished_until_arrived is False
    assert server.run(b"q\n").finished_until_arrived is False


@pytest.mark.parametrize("command", [b"c\n", b"w0\n", b"w0 5\n"])
def test_the_end_is_awaited_of_who_was_sent_messages(server, command):
    server.publish(b"a")
    assert server.run(command + b"q\n").finished_until_arrived is True


def test_a_bug_is_answered_and_logged_and_the_session_goes_on(server, monkeypatch, caplog):
    def publish(data, count):
        raise RuntimeError("a bug of this test")

    monkeypatch.setattr(server.topic, "publish", publish)
    connection = server.run(b"pa\r\nz\n")
    assert bytes(connection.written) == b"- internal a bug; see the server's log\r\n+ \n"
    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), record.connection) == ("ERROR", "bug: command failed", 1)
    assert record.exc_info[0] is RuntimeError


def test_another_protocol_is_logged(server, caplog):
    server.run(b"GET / HTTP/1.1\r\n")
    server.run(b"\x16\x03\x01")
    assert [record.getMessage() for record in caplog.records] == [
        "client speaks http, not this protocol",
        "client speaks tls, not this protocol",
    ]
    assert [record.connection for record in caplog.records] == [1, 2]


def test_every_command_has_a_handler():
    assert set(Session.HANDLERS) == set(protocol.Command.__args__)


def test_ids_name_their_partition_where_there_are_several(make_server):
    server = make_server(partitions=3)
    connection = server.run(b"P1\na\n", b"P1\nb\nr0 1\na1:0 0:5\nf1:0\nf$\nf7:0\n")
    assert bytes(connection.written) == (
        b"+ 0:0\n+ 1:0\n= 0:0 1 a\n.\n- gone 1:0 0:5\n+ 1:0\n+ 0:1 1:1 2:0\n"
        b"- args there are only 3 partitions, counted from 0\n"
    )


def test_a_group_that_was_forgotten_is_made_anew(server):
    server.publish(b"a")
    connection = server.run(b"gx\nr\n", lambda: b"a0\n", lambda: b"xx\npb\nw0\n")
    assert bytes(connection.written) == b"+ x\n= 0 1 a\n+ 1\n+ x\nok\r\n= 0 1 a\n"


def test_ids_are_those_of_the_chosen_topic(server):
    server.broker.set_up("log", 3)
    connection = server.run(
        b"P1\na\nw0\na0\ntlog\nP1\na\nP1 id=1\nb\nv2\nr0 2\na0 2:5\nn1:0\na1:0\nf1:9\n",
        b"t\na7\nf0\ntnew\na1\ntlog\nr0\nt\nn0\n",
    )
    assert bytes(connection.written) == (
        b"+ 0\n= 0 1 a\n- gone 0\n"
        b"+ log\n+ 0:0\n+ 1:0\n= 0:0 1 a\n= 1:0 1 b\n.\n= 0:0 1 a\n= 1:0 1 b\n.\n- gone 2:5\n+ 1:0\n- gone 1:0\n+ 1:1\n"
        b"+ default\n- gone 7\n+ 0\n+ new\n- gone 1\n+ log\n.\n+ default\n- gone 0\n"
    )


def test_a_stream_shows_the_ids_of_its_topic(server):
    server.broker.set_up("log", 2)
    server.publish(b"a")
    connection = server.run(b"tlog\npb\ns1\n", lambda: b"a0\ns0\nt\ns\n", lambda: b"")
    assert bytes(connection.written) == b"+ log\nok\r\n= 0:0 1 b\n+ 1\n.\n+ default\n= 0 1 a\n"


def test_a_topic_that_was_removed_is_made_anew_by_whatever_needs_it(server):
    for command, answer in (
        (b"pb\n", b"ok\r\n"),
        (b"P1\nb\n", b"+ 0\n"),
        (b"c\nz\n", b"+ \n"),
        (b"w0\n", b".\n"),
        (b"f$\n", b"+ 0\n"),
        (b"gg\n", b"+ g\n"),
    ):
        connection = server.run(b"tlog\ngg\npa\npa\nc\n", b"ylog\n", command, b"ilog\n")
        made = b"+ log\n+ g\nok\r\nok\r\na\n+ log\n" + answer + b"partitions 1\n"
        assert bytes(connection.written).startswith(made), command
        server.broker.remove("log")


def test_a_removed_topic_is_not_made_anew_by_what_does_not_need_it(server):
    connection = server.run(b"tlog\npa\nr0\na0\n", b"ylog\n", b"v\na0\no0\nn0\ne0\nd0\nxg\nilog\nl\n")
    assert bytes(connection.written) == (
        b"+ log\nok\r\n= 0 1 a\n+ 1\n+ log\n.\n"
        + b"- gone 0\n" * 5
        + b"- name no such topic\n" * 2
        + b"topic.default 0\n.\n"
    )


def test_who_waits_keeps_the_topic(server):
    connection, waiting, session = server.start(b"tlog\nw30\n", lambda: gevent.sleep(100))
    assert bytes(server.run(b"ylog\n").written) == CONSUMERS
    session.drain()
    waiting.kill()
    assert bytes(server.run(b"ylog\n").written) == b"+ log\n"
    assert connection.written.startswith(b"+ log\n")


def test_what_was_on_its_way_when_its_topic_was_removed_goes_nowhere(server):
    connection, waiting, _ = server.start(b"pa\npb\nc\nw0\n", lambda: gevent.sleep(100))
    connection.got = 0
    assert bytes(server.run(b"ydefault\n", b"pnew\n").written) == b"+ default\nok\r\n"
    waiting.kill()
    assert bytes(server.run(b"w0 9\n").written) == b"= 0 1 new\n.\n"


def test_the_info_of_the_server(server):
    connection = server.run(b"i\n")
    rows = dict(line.split(b" ", 1) for line in bytes(connection.written).splitlines()[:-1])
    assert (rows[b"topics"], rows[b"memory.limit"], rows[b"engine"]) == (b"1", b"%d" % (1 << 30), b"memory")
    assert connection.written.endswith(b"\n.\n")


def test_a_list_of_leases_ends_where_no_more_may_be_leased(make_server):
    server = make_server(max_memory_bytes=3000)
    server.publish(*[b"x" * 8] * 300)
    for name in (b"a", b"b", b"c"):
        holder, _, _ = server.start(b"g" + name + b"\nr0 300\n", lambda: gevent.sleep(100))
        assert holder.written.endswith(b"\n.\n") or holder.written.endswith(FULL_OF_LEASES)
    connection = server.run(b"gd\nr0 300\nw0\n")
    assert bytes(connection.written) == b"+ d\n" + FULL_OF_LEASES + b"= 0 1 xxxxxxxx\n"
    assert server.memory.held_bytes <= 2 * 3000 + 3000


FULL_OF_LEASES = b"- full too much is leased, or waits to be delivered again; acknowledge, or raise --max-memory\n"


@pytest.mark.parametrize("command", [b"v", b"f@1"])
def test_what_cannot_be_read_is_no_bug(make_server, command, caplog):
    server = make_server(kept=True)
    server.publish(b"a")

    def fail(*_):
        raise StorageError("/data/topics: Input/output error")

    log = server.topic.partitions[0]
    log.peek = log.find_time = fail
    client = server.run(command + b"\nznext\n")
    assert client.written == b"- disk /data/topics: Input/output error\n+ next\n"
    assert caplog.records == []


def test_what_cannot_be_read_for_a_consumer_is_told(make_server):
    """He who asks for messages has to know that there are some."""
    server = make_server(kept=True)
    server.publish(b"a")
    group = server.topic.group()
    (cursor,) = server.topic.partitions[0].cursors
    cursor.load(StorageError("/data/topics: Input/output error"))
    client = server.run(b"w0\nr0\nc\nznext\n")
    assert client.written == b"- disk /data/topics: Input/output error\n" * 3 + b"+ next\n"
    cursor.load()
    assert server.run(b"w0\n").written == b"= 0 1 a\n"
    assert group.backlog == 0
