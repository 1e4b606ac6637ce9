"""A session: waiting, draining, and clients that are gone with messages on their way."""

from __future__ import annotations

import logging

import gevent
import pytest

from gstream.connection import ClientGone
from gstream.protocol import BANNER

SOON = 0.001
"""A time that is really waited for, where its end is what is tested."""


@pytest.mark.parametrize(
    ("got", "left"), [(0, [b"one", b"two"]), (3, [b"one", b"two"]), (4, [b"two"]), (7, [b"two"]), (8, [])]
)
def test_what_did_not_arrive_is_consumed_by_the_next(server, got, left):
    server.publish(b"one", b"two")
    assert bytes(server.run(b"c\nc\n", got=got).written) == b"one\ntwo\n"
    assert server.left() == left


@pytest.mark.parametrize(
    ("got", "left"), [(0, [b"a\r", b"b"]), (10, [b"a\r", b"b"]), (11, [b"b"]), (18, [b"b"]), (19, [])]
)
def test_typed_messages_that_did_not_arrive_too(server, got, left):
    server.publish(b"a\r", b"b")
    assert bytes(server.run(b"w0 5\n", got=got).written) == b"$ 0 1 2\na\r\n= 1 1 b\n.\n"
    assert server.left() == left


def test_the_banner_and_other_replies_lie_between(server):
    server.publish(b"a", b"b")
    connection = server.run(b"z\nc\nz\nc\n", banner=b"hello\r\n", got=7 + 3 + 2 + 3)
    assert bytes(connection.written) == b"hello\r\n+ \na\n+ \nb\n"
    assert server.left() == [b"b"]


def test_a_client_that_is_gone_while_it_is_written_to_takes_nothing_with_it(server, caplog):
    caplog.set_level(logging.INFO, "gstream")
    server.publish(b"one", b"two", b"three")
    connection = server.run(b"c\nc\n", b"c\n", takes=5, got=0)
    assert connection.finished_until_arrived is None
    assert server.left() == [b"one", b"two", b"three"]
    (record,) = caplog.records
    assert (record.getMessage(), record.messages) == ("client gone, messages given back", 2)


def test_a_client_that_is_gone_at_its_very_end_takes_nothing_with_it(server):
    server.publish(b"one", b"two")
    server.run(b"c\nc", got=0)
    assert server.left() == [b"one", b"two"]


def test_the_beginning_of_a_line_is_no_command_after_a_reset(server):
    def reset():
        raise ClientGone

    server.publish(b"a")
    connection = server.run(b"pb\nc\npc", reset, got=0)
    assert connection.finished_until_arrived is None
    assert server.left() == [b"a", b"b"]


def test_a_client_that_is_gone_before_its_banner(server):
    server.run(b"pa\n", banner=BANNER, takes=0, got=0)
    assert server.left() == []


def test_what_comes_back_goes_to_who_waits(server):
    server.publish(b"a")
    waiting = []
    server.run(b"c\n", lambda: waiting.append(server.start(b"w\n")), got=0)
    ((connection, greenlet, _),) = waiting
    greenlet.get()
    assert bytes(connection.written) == b"= 0 1 a\n"


def test_many_deliveries_are_remembered_only_as_long_as_needed(server):
    server.publish(*[bytes(1000)] * 2000)
    connection = server.run(*[b"c\n"] * 2000)
    assert len(connection.written) == 2000 * 1001
    assert connection.arrived_calls > 5  # not at the end only
    assert server.left() == []


# --- waiting


def test_a_message_that_comes_while_one_waits(server):
    connection, greenlet, _ = server.start(b"zbefore\nw\nznext\n")
    assert bytes(connection.written) == b"+ before\n"
    assert connection.flushed == len(connection.written)
    server.publish(b"a", b"b")
    greenlet.get()
    assert bytes(connection.written) == b"+ before\n= 0 1 a\n+ next\n"
    assert server.left() == [b"b"]


def test_a_list_takes_what_there_is_once_the_first_has_come(server):
    connection, greenlet, _ = server.start(b"w100 3\r\n")
    server.publish(b"a", b"b", b"c", b"d")
    greenlet.get()
    assert bytes(connection.written) == b"= 0 1 a\r\n= 1 1 b\r\n= 2 1 c\r\n.\r\n"
    assert server.left() == [b"d"]


def test_waiting_ends_with_its_time(server):
    connection, greenlet, _ = server.start(b"w%g\nw%g 5\nz\n" % (SOON, SOON))
    greenlet.get()
    assert bytes(connection.written) == b".\n.\n+ \n"


def test_who_waits_longest_is_served_first(server):
    conversations = [server.start(command) for command in (b"w\n", b"w100 5\n", b"w100\n")]
    server.publish(b"a")
    server.publish(b"b")
    server.publish(b"c")
    gevent.joinall([greenlet for _, greenlet, _ in conversations])
    written = [bytes(connection.written) for connection, _, _ in conversations]
    assert written == [b"= 0 1 a\n", b"= 1 1 b\n.\n", b"= 2 1 c\n"]


def test_unbounded_waiting_ends_with_the_client(server):
    connection, greenlet, _ = server.start(b"w\n")
    assert connection.stops_at_end
    connection.stop_waiting()
    greenlet.get()
    assert bytes(connection.written) == b".\n"


def test_bounded_waiting_goes_on_when_the_client_sends_nothing_more(server):
    connection, greenlet, _ = server.start(b"w100\n")
    assert not connection.stops_at_end
    gevent.idle()
    assert not greenlet.ready()
    server.publish(b"a")
    greenlet.get()
    assert bytes(connection.written) == b"= 0 1 a\n"


@pytest.mark.parametrize("command", [b"w\n", b"w100\n", b"w100 5\n"])
def test_ctrl_c_ends_any_waiting(server, command):
    connection, greenlet, _ = server.start(command + b"z\n")
    connection.stop_waiting()
    greenlet.get()
    assert bytes(connection.written) == b".\n+ \n"
    server.publish(b"a")
    assert server.left() == [b"a"]


def test_a_session_that_is_killed_while_it_waits_loses_nothing(server):
    _, greenlet, _ = server.start(b"w\n")
    greenlet.kill(block=False)
    server.publish(b"a")
    gevent.joinall([greenlet])
    assert server.left() == [b"a"]


# --- draining


def test_draining_ends_the_waiting_and_is_told(server):
    connection, greenlet, session = server.start(b"w100\r\n", lambda: pytest.fail("read on"))
    session.drain()
    greenlet.get()
    assert bytes(connection.written) == b"- drain the server is stopping\r\n# drain the server is stopping\r\n"
    assert connection.wakes == 1


def drained_behind(server, sent):
    session, connection = server.session(sent, lambda: session.drain(), lambda: pytest.fail("read on"))  # noqa: PLW0108  # it is not there yet
    session.run(b"")
    return connection


@pytest.mark.parametrize(
    ("sent", "eol"),
    [(b"z\n", b"\n"), (b"h\r\n", b"\r\n"), (b"w0\n", b"\n"), (b"z\r\nz\n", b"\n"), (b"z\nc\r\n", b"\n")],
)
def test_draining_is_told_who_understands_it(server, sent, eol):
    connection = drained_behind(server, sent)
    assert bytes(connection.written).endswith(b"# drain the server is stopping" + eol)
    assert connection.finished_until_arrived is False


@pytest.mark.parametrize("sent", [b"", b"pa\nc\n", b"x\n", b"\n"])
def test_draining_is_not_told_who_speaks_only_the_tutorials_protocol(server, sent):
    connection = drained_behind(server, sent)
    assert b"#" not in connection.written
    assert connection.finished_until_arrived is not None


def test_what_was_read_is_answered_before_draining(server):
    def drain_and_send():
        session.drain()
        return b"pa\nc\nz\n"

    session, connection = server.session(drain_and_send, lambda: pytest.fail("read on"))
    session.run(b"")
    assert bytes(connection.written) == b"ok\r\na\n+ \n# drain the server is stopping\n"


def test_a_wait_that_was_read_while_draining_does_not_wait(server):
    def drain_and_send():
        session.drain()
        return b"w\nw100\n"

    session, connection = server.session(drain_and_send)
    session.run(b"")
    assert bytes(connection.written).startswith(b"- drain the server is stopping\n" * 2 + b"# drain")


# --- streams and leases


def test_a_stream_sends_what_comes_and_ends_with_what_the_client_sends(server):
    connection = server.run(b"s\n", lambda: server.publish(b"a", b"b"), lambda: None, lambda: None)
    assert bytes(connection.written) == b"= 0 1 a\n= 1 1 b\n"
    assert connection.finished_until_arrived is True
    assert server.left() == []


def test_what_a_stream_sent_and_did_not_arrive_goes_back(server):
    server.run(b"s\r\n", lambda: server.publish(b"a", b"b"), lambda: None, got=9)
    assert server.left() == [b"b"]


@pytest.mark.parametrize("command", [b"r0 2\n", b"s2\n"])
@pytest.mark.parametrize(("got", "attempts"), [(0, [1, 1]), (8, [2, 1]), (16, [2, 2])])
def test_leases_end_with_their_connection_and_what_did_not_arrive_was_no_attempt(server, command, got, attempts):
    server.publish(b"a", b"b")
    connection = server.run(command, lambda: None, lambda: None, got=got)
    assert connection.written.startswith(b"= 0 1 a\n= 1 1 b\n")
    batches = list(iter(lambda: server.topic.group().take(1, 0), None))
    assert [batch.bodies() for batch in batches] == [[b"a"], [b"b"]]
    assert [batch.attempt for batch in batches] == attempts
    assert server.memory.held_bytes == 0
    assert not server.topic.group().busy


def test_a_lease_wait_is_drained_too(server):
    connection, greenlet, session = server.start(b"r\n", lambda: pytest.fail("read on"))
    session.drain()
    greenlet.get()
    assert bytes(connection.written).startswith(b"- drain the server is stopping\n")


def test_a_stream_is_drained_and_what_it_leased_goes_back(server):
    session, connection = server.session(
        b"s5\n",
        lambda: server.publish(b"a"),
        lambda: session.drain(),  # noqa: PLW0108  # it is not there yet
    )
    session.run(b"")
    assert bytes(connection.written) == b"= 0 1 a\n# drain the server is stopping\n"
    batch = server.topic.group().take(1, 0)
    assert (batch.bodies(), batch.attempt) == ([b"a"], 2)


def test_who_waits_in_a_group_keeps_it_from_being_forgotten_until_the_message_is_his(server):
    connection, greenlet, _ = server.start(b"ga\nr100\n", lambda: b"a0\n")
    other = server.run(b"pone\nxa\n")
    assert bytes(other.written) == b"ok\r\n- busy the group has consumers\n"
    greenlet.get()
    assert bytes(connection.written) == b"+ a\n= 0 1 one\n+ 1\n"
    assert server.memory.held_bytes == 0


def test_who_waits_in_a_group_that_is_moved_gets_what_it_was_moved_to(server):
    server.publish(b"one")
    connection, greenlet, _ = server.start(b"w0\nw100\n")
    other = server.run(b"f0\nptwo\n")
    assert bytes(other.written) == b"+ 0\nok\r\n"
    greenlet.get()
    assert bytes(connection.written) == b"= 0 1 one\n= 0 1 one\n"
    assert server.left() == [b"two"]


def test_who_was_sent_a_message_before_the_group_was_moved_waits_no_more(server):
    server.publish(b"one")
    connection, greenlet, _ = server.start(b"w0\nw100\n")
    server.run(b"ptwo\nf0\n")
    greenlet.get()
    assert bytes(connection.written) == b"= 0 1 one\n= 1 1 two\n"
    assert server.left() == [b"one", b"two"]
