"""Topics and groups, through real sockets: fan out, retention, limits, and every error that the document knows."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

import pytest

from gstream.testing import ServerProcess, ServerThread, Session, wait_until

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"


def talk(server: ServerThread, said: bytes) -> bytes:
    """What a new client is answered to this."""
    with Session(server) as client:
        client.send(said)
        client.half_close()
        return client.read_all()


def test_every_group_gets_every_message_in_order(server: ServerThread) -> None:
    with contextlib.ExitStack() as stack:
        consumers = [stack.enter_context(Session(server)) for _ in range(20)]
        for number, consumer in enumerate(consumers):
            consumer.send(b"tnews\ng%d\n" % (number % 10))
            consumer.expect(b"+ news\n+ %d\n" % (number % 10))
        assert talk(server, b"tnews\n" + b"".join(b"p%d\n" % each for each in range(1000))) == (
            b"+ news\n" + b"ok\r\n" * 1000
        )
        got: dict[int, list[int]] = {group: [] for group in range(10)}
        for start in range(0, 1000, 50):
            consumer_of_turn = consumers[:10] if start % 100 else consumers[10:]
            for number, consumer in enumerate(consumer_of_turn):
                consumer.send(b"w0 50\n")
                got[number] += [int(line.split()[3]) for line in iter(consumer.read_line, b".\n")]
        assert all(bodies == list(range(1000)) for bodies in got.values())
        assert server.call(lambda service: service.engine.used_bytes) == 0


def test_what_everybody_has_taken_can_be_consumed_again() -> None:
    with ServerThread(retain_bytes=1 << 20) as server:
        assert talk(server, b"p1\np2\np3\nc\nc\nc\nf1\nc\nf^\nw0 9\n") == (
            b"ok\r\n" * 3 + b"1\n2\n3\n+ 1\n2\n+ 0\n= 0 1 1\n= 1 1 2\n= 2 1 3\n.\n"
        )
        assert talk(server, b"gnew\nw0 9\n") == b"+ new\n= 0 1 1\n= 1 1 2\n= 2 1 3\n.\n"


def test_what_is_retained_never_keeps_new_messages_out() -> None:
    body = b"x" * 10_000
    with ServerThread(retain_bytes=1 << 30, max_memory_bytes=100_000) as server, Session(server) as client:
        for _ in range(100):
            client.send(b"p%b\nc\n" % body)
            client.expect(b"ok\r\n%b\n" % body)
        stored = server.call(lambda service: service.engine.stored_bytes)
        assert stored <= 100_000 + 64 * 1024 + 16 * 1024
        client.send(b"f^\n")
        assert client.read_line() > b"+ 0\n"


def test_many_topics_whose_messages_were_all_taken_cost_no_more_than_the_limit() -> None:
    body = b"x" * 100_000
    with ServerThread(retain_bytes=1 << 30, max_memory_bytes=1_000_000) as server, Session(server) as client:
        for number in range(100):
            client.send(b"t%d\np%b\nc\n" % (number, body))
            client.expect(b"+ %d\nok\r\n%b\n" % (number, body))
        assert server.call(lambda service: service.engine.stored_bytes) <= 1_000_000


@pytest.mark.parametrize("of_the_server", [True, False])
def test_what_is_beyond_a_limit_goes_from_memory_taken_or_not(of_the_server: bool) -> None:
    limit = 200_000
    with ServerThread(limit_bytes=limit if of_the_server else 0) as server, Session(server) as client:
        fields = b"" if of_the_server else b" retain-bytes=%d" % limit
        client.send(b"mlog%b\ntlog\ngslow\n" % fields)
        client.expect(b"+ log\n+ log\n+ slow\n")
        for _ in range(100):
            client.send(b"p%b\n" % (b"x" * 10_000))
            client.expect(b"ok\r\n")
        client.send(b"w0\n")
        first = int(client.read_line().split()[1])
        assert 70 < first <= 80
        assert server.call(lambda service: service.engine.lost_count) == first
        assert limit <= server.call(lambda service: service.engine.stored_bytes) < limit + 80_000


def test_old_messages_go_from_memory() -> None:
    with ServerThread(limit_seconds=0.3) as server, Session(server) as client:
        client.send(b"pold\n")
        client.expect(b"ok\r\n")
        wait_until(lambda: server.call(lambda service: service.engine.stored_bytes) == 0, "the old message is gone")
        client.send(b"pnew\nw0\n")
        client.expect(b"ok\r\n= 1 1 new\n")


def test_a_forgotten_group_makes_room() -> None:
    with ServerThread(retain_bytes=0, max_memory_bytes=100) as server, Session(server) as client:
        client.send(b"gslow\ngfast\np%b\nc\n" % (b"x" * 80))
        client.expect(b"+ slow\n+ fast\nok\r\n%b\n" % (b"x" * 80))
        client.send(b"p%b\n" % (b"y" * 80))
        assert client.read_line().startswith(b"- full ")
        client.send(b"xslow\np%b\nc\n" % (b"y" * 80))
        client.expect(b"+ slow\nok\r\n%b\n" % (b"y" * 80))


def test_a_key_keeps_its_order_and_partitions_are_named() -> None:
    with ServerThread(partitions=4) as server, Session(server) as client:
        ids: dict[bytes, list[bytes]] = {}
        for number in range(100):
            key = b"k%d" % (number % 7)
            client.send(b"P3 key=%b\n%03d\n" % (key, number))
            ids.setdefault(key, []).append(client.read_line().split()[1])
        for places in ids.values():
            partitions = {place.partition(b":")[0] for place in places}
            offsets = [int(place.partition(b":")[2]) for place in places]
            assert len(partitions) == 1
            assert offsets == sorted(offsets)
        got: dict[int, list[int]] = {}
        client.send(b"w0 1000\n")
        for line in iter(client.read_line, b".\n"):
            number = int(line.split()[3])
            got.setdefault(number % 7, []).append(number)
        assert got == {each: list(range(each, 100, 7)) for each in range(7)}


def test_a_delayed_message_comes_when_its_time_is_over(server: ServerThread) -> None:
    assert talk(server, b"P1 delay=0.05\nb\nP1\na\nw0\nw30\n") == b"+ delayed\n+ 0\n= 0 1 a\n= 1 1 b\n"


def test_an_id_is_published_once_whoever_sends_it(server: ServerThread) -> None:
    for _ in range(3):
        assert talk(server, b"P1 id=order%207\na\n") == b"+ 0\n"
    assert talk(server, b"w0 9\n") == b"= 0 1 a\n.\n"


def test_topics_of_one_server_differ_in_their_partitions(server: ServerThread) -> None:
    with Session(server) as client:
        client.send(b"mone\nmfour partitions=4\n")
        client.expect(b"+ one\n+ four\n")
        for _ in range(3):
            client.send(b"tone\nP1\na\ntfour\nP1\na\n")
            client.expect(b"+ one\n+ ")
            assert b":" not in client.read_line()
            client.expect(b"+ four\n+ ")
            assert client.read_line().endswith(b":0\n")
        client.send(b"r0 9\ntone\nr0 9\na0 1 2\ntfour\na0:0 1:0 2:0\n")
        client.expect(b"= 0:0 1 a\n= 1:0 1 a\n= 2:0 1 a\n.\n+ one\n= 0 1 a\n= 1 1 a\n= 2 1 a\n.\n+ 3\n+ four\n+ 3\n")
        assert talk(server, b"ifour\n").startswith(b"partitions 4\n")
        assert talk(server, b"ione\n").startswith(b"partitions 1\n")


def test_a_removed_topic_makes_room() -> None:
    with ServerThread(max_memory_bytes=1000) as server, Session(server) as client:
        client.send(b"tlog\np%b\nP300 delay=600\n%b\nt\n" % (b"x" * 400, b"y" * 300))
        client.expect(b"+ log\nok\r\n+ delayed\n+ default\n")
        client.send(b"p%b\n" % (b"z" * 900))
        assert client.read_line().startswith(b"- full ")
        client.send(b"ylog\np%b\nc\nydefault\n" % (b"z" * 900))
        client.expect(b"+ log\nok\r\n%b\n+ default\n" % (b"z" * 900))
        figures = server.call(lambda service: (service.engine.used_bytes, service.engine.held_bytes))
        assert figures == (0, 0)
        assert server.call(lambda service: service.engine.stored_bytes) == 0


def test_many_clients_of_a_topic_that_comes_and_goes() -> None:
    """Whoever had chosen it goes on, with the topic of that name that is there then."""
    with ServerThread() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Session(server)) for _ in range(20)]
        for client in clients:
            client.send(b"tlog\n")
            client.expect(b"+ log\n")
        for turn in range(50):
            producer, consumer, remover = (clients[(turn + at) % 20] for at in (0, 7, 13))
            partitions = turn % 3 + 1
            id = b"0:0" if partitions > 1 else b"0"
            producer.send(b"mlog partitions=%d\nP1\na\n" % partitions)
            producer.expect(b"+ log\n+ %b\n" % id)
            consumer.send(b"r5\n")
            consumer.expect(b"= %b 1 a\n" % id)
            remover.send(b"ylog\n")
            remover.expect(b"- busy the topic has consumers\n")
            consumer.send(b"a%b\n" % id)
            consumer.expect(b"+ 1\n")
            remover.send(b"ylog\n")
            remover.expect(b"+ log\n")
        assert server.call(lambda service: list(service.broker.topics)) == []


def test_a_topic_is_removed_as_soon_as_its_last_consumer_is_gone(server: ServerThread) -> None:
    with Session(server) as client:
        with Session(server) as consumer:
            consumer.send(b"tlog\npa\nr\nw\n")
            consumer.expect(b"+ log\nok\r\n= 0 1 a\n")
            client.send(b"ylog\n")
            client.expect(b"- busy the topic has consumers\n")
        wait_until(lambda: server.call(lambda service: service.connection_count) == 1, "the consumer is gone")
        client.send(b"ylog\nl\n")
        client.expect(b"+ log\n.\n")


# --- errors

ERRORS = {
    "unknown": (b"quit\n", b"- unknown "),
    "unknown, a letter": (b"?\n", b"- unknown "),
    "args, wait": (b"wx\n", b"- args w takes "),
    "args, lease": (b"r5 0\n", b"- args r takes "),
    "args, acknowledge": (b"a\n", b"- args a takes "),
    "args, give back": (b"n\n", b"- args n takes "),
    "args, extend": (b"ex\n", b"- args e takes "),
    "args, dead letter": (b"d\n", b"- args d takes "),
    "args, stream": (b"s-1\n", b"- args s takes "),
    "args, seek": (b"fwhere\n", b"- args f takes "),
    "args, partition": (b"f7:0\n", b"- args there are only 1 partitions"),
    "args, look": (b"v0\n", b"- args v takes "),
    "args, count": (b"b3\n", b"- args b takes "),
    "args, publish": (b"Px\n", b"- args P takes "),
    "args, fields": (b"P1 key\na\n", b"- args P takes "),
    "args, body": (b"P1\nab\n", b"- args the body is not followed"),
    "name, topic": (b"t..\n", b"- name a name is "),
    "name, group": (b"ga b\n", b"- name a name is "),
    "name, too long": (b"t" + b"x" * 250 + b"\n", b"- name a name is "),
    "name, no topic": (b"inone\n", b"- name no such topic"),
    "name, no group": (b"p\nxnone\n", b"- name no such group"),
    "toobig, line": (b"p" + b"x" * 1001 + b"\n", b"- toobig longer than 1000 bytes"),
    "toobig, body": (b"P1001\n" + b"x" * 1001 + b"\n", b"- toobig "),
    "full, memory": (b"p" + b"x" * 900 + b"\np" + b"x" * 900 + b"\n", b"- full no room within 1000 bytes"),
    "full, memory, counted": (b"P999\n" + b"x" * 999 + b"\n", b"- full no room within 1000 bytes"),
    "full, delayed": (b"P900 delay=9\n" + b"x" * 900 + b"\n", b"- full no room within 1000 bytes"),
    "full, topics": (b"t1\np\nt2\np\nt3\np\n", b"- full there are 2 topics, the server's --max-topics"),
    "full, groups": (b"g1\ng2\ng3\n", b"- full there are 2 groups, the server's --max-groups"),
    "gone, acknowledge": (b"a0\n", b"- gone 0"),
    "args, untouched": (b"o\n", b"- args o takes "),
    "gone, untouched": (b"o5\n", b"- gone 5"),
    "gone, give back": (b"n5\n", b"- gone 5"),
    "gone, extend": (b"e5\n", b"- gone 5"),
    "gone, dead letter": (b"d5\n", b"- gone 5"),
    "busy, stream": (b"s\nc\n", b"- busy this connection streams"),
    "args, make": (b"mlog colour=red\n", b"- args m takes "),
    "args, partitions": (b"mlog partitions=2\nmlog partitions=1\n", b"- args the topic has 2 partitions"),
    "args, limits": (b"mlog retain-bytes=some\n", b"- args m takes "),
    "name, make": (b"ma/b partitions=2\n", b"- name a name is "),
    "name, nothing to make": (b"m\n", b"- name a name is "),
    "name, nothing to remove": (b"ynone\n", b"- name no such topic"),
    "full, partitions": (b"mlog partitions=3\n", b"- full it counts as 3 topics, and there are 0; --max-topics is 2"),
    "full, groups of partitions": (
        b"mlog partitions=2\ntlog\ng1\ng2\n",
        b"- full it counts as 2 groups, and there are 2",
    ),
    "busy, topic": (b"p\nr\nydefault\n", b"- busy the topic has consumers"),
    "busy, stream, make": (b"s\nmlog\n", b"- busy this connection streams"),
    "busy, stream, remove": (b"s\nylog\n", b"- busy this connection streams"),
    "busy, group": (b"gx\np\nr\nxx\n", b"- busy the group has consumers"),
}


@pytest.mark.parametrize(("said", "answered"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_is_answered_in_its_place_and_the_connection_goes_on(said: bytes, answered: bytes) -> None:
    with (
        ServerThread(max_message_bytes=1000, max_memory_bytes=1000, max_topics=2, max_groups=2) as server,
        Session(server) as client,
    ):
        client.send(said + b"zgoes on\n")
        lines = list(iter(client.read_line, b"+ goes on\n"))
        assert lines[-1].startswith(answered)
        assert lines[-1].endswith(b"\n")
        assert [line for line in lines if line.startswith(b"-")] == lines[-1:]


def test_too_many_connections() -> None:
    with ServerThread(max_connections=1) as server, Session(server), Session(server, banner=b"") as client:
        assert client.read_all() == b"- full too many connections\r\n"


def test_too_many_leases() -> None:
    with ServerThread(max_memory_bytes=1000) as server, Session(server) as client, Session(server) as other:
        client.send(b"ga\ngb\np%b\nga\nr0\n" % (b"x" * 990))
        client.expect(b"+ a\n+ b\nok\r\n+ a\n= 0 1 %b\n" % (b"x" * 990))
        other.send(b"gb\nr0\ngc\nr0\n")
        other.expect(b"+ b\n= 0 1 %b\n+ c\n" % (b"x" * 990))
        other.send(b"gb\nP1\na\nr0\n")
        lines = [other.read_line() for _ in range(4)]
        assert any(line.startswith(b"- full too much is leased") for line in lines), lines


def test_draining() -> None:
    with ServerProcess() as process, Session(process) as client:
        client.send(b"zready\nr600\n")
        client.expect(b"+ ready\n")
        process.process.send_signal(signal.SIGTERM)
        assert client.read_all().startswith(b"- drain ")
        assert process.wait() == 0


def test_a_bug_is_answered(server: ServerThread) -> None:
    def break_it(service: object) -> None:
        service.broker.topics.clear()  # type: ignore[attr-defined]
        service.broker.topic = None  # type: ignore[attr-defined]

    server.call(break_it)
    assert talk(server, b"pa\nz\n") == b"- internal a bug; see the server's log\n+ \n"


def test_every_code_of_the_document_is_reached_here() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").partition("\n## Errors\n")[2].partition("```")[0]
    codes = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    reached = {answered.split()[1].decode() for _, answered in ERRORS.values()}
    assert codes == reached | {"disk", "drain", "internal"}


# --- every command, cut anywhere

SAID = (
    b"pHello\np two\r\nP3\na\nb\nP1 key=k%20k id=7\r\nx\r\nP1 delay=600\ny\nw0\nr0 2\r\nc\nw0.01 9\na1\nr0 5\no2\nn2\n"
    b"r0\n"
    b"e1 60\nd1 why\ntnews\r\ngg\ns\ns0\ns7\ns0\np1\np2\nf0\nv2\nf^\nr\na0\nf-1\nf$\nb\nb0\nl\ninone\nxg\n"
    b"xno\nmlog partitions=2\nmlog partitions=3\ntlog\nP1\nz\nylog\ny7\nzping\r\n?\nb2\nb0\nt\ng\ntdefault.dlq\nv\nq\n"
)


def play_in_pieces(pieces: list[bytes]) -> bytes:
    """What is answered when each piece is sent once the one before it was read."""
    with ServerThread(retain_bytes=1 << 20) as server, Session(server) as client:
        for piece in pieces:
            client.send(piece)
        return client.read_all()


def commands_of(said: bytes) -> list[bytes]:
    """The commands with their bodies."""
    lines = said.splitlines(keepends=True)
    commands: list[bytes] = []
    while lines:
        command = lines.pop(0)
        if command.startswith(b"P"):
            body = b""
            while len(body.rstrip(b"\r\n") if body else b"") < int(re.findall(rb"\d+", command)[0]):
                body += lines.pop(0)
            command += body
        commands.append(command)
    return commands


@pytest.mark.parametrize("command", commands_of(SAID), ids=repr)
def test_every_command_cut_at_every_byte(server: ServerThread, command: bytes) -> None:
    """Each client sends it in two pieces, of which the server has read the first before the second comes."""
    whole = None
    for cut in range(1, len(command)):
        with Session(server) as client, Session(server) as fence:
            name = b"t%d\n" % cut
            client.send(name + b"pa\nw0\n" + command[:cut])
            client.expect(b"+ %d\nok\r\n= 0 1 a\n" % cut)
            fence.expect_nothing()
            client.send(command[cut:] + b"zend\n")
            client.half_close()
            answered = re.sub(rb"time=\d+", b"time=", client.read_all())
        if whole is None:
            whole = answered
        if command[:1] not in b"l":  # what it tells of other topics differs
            assert answered == whole


def test_all_of_them_at_once_and_byte_by_byte() -> None:
    at_once = play_in_pieces([SAID])
    assert at_once.count(b"\n") > len(commands_of(SAID))
    for size in (1, 2, 7):
        pieces = [SAID[at : at + size] for at in range(0, len(SAID), size)]
        assert play_in_pieces(pieces) == at_once
