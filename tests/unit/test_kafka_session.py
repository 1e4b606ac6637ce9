"""A conversation, on a connection that is none: what is answered, in which order, and how it ends."""

from __future__ import annotations

import logging
import struct
from collections import deque

import gevent
import pytest

from gstream.commit import Commit
from gstream.kafka.api import Peer
from gstream.kafka.connection import ClientGone, LateError
from gstream.kafka.dispatch import Later
from gstream.kafka.receiving import RefusedError
from gstream.kafka.room import Room
from gstream.kafka.session import HALF_SENT_SECONDS, HTTP_REPLY, LARGE_BYTES, SLOWEST_BYTES, KafkaSession


class FakeConnection:
    """Gives what it was told to, and notes what is done with it."""

    def __init__(self):
        self.input = deque()
        self.written = []
        self.later = []
        self.due = None
        self.dues = []
        self.finished = None
        self.dropped = False
        self.waits = 0

    def read(self):
        given = self.input.popleft() if self.input else b""
        if isinstance(given, BaseException):
            raise given
        return given

    def read_into(self, buffer):
        given = self.read()
        if not given:
            return None if given is None else 0
        count = min(len(buffer), len(given))
        buffer[:count] = given[:count]
        if given[count:]:
            self.input.appendleft(given[count:])
        return count

    def set_due(self, seconds):
        self.dues.append(seconds)

    def wake(self):
        pass

    def is_gone(self):
        return True

    def write(self, buffers):
        self.written.append(b"".join(buffers))
        return sum(map(len, buffers))

    def write_when(self, commit, finish, size):
        self.later.append((commit, finish, size))

    def wait_for_room(self):
        self.waits += 1

    def finish(self, *, linger):
        self.finished = linger

    def drop(self):
        self.dropped = True


class FakeDispatcher:
    """Answers each request with itself, or with what it was told to."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.unread = Room(1 << 20)

    def limit_of(self, _key):
        return 1 << 24

    def answer(self, frame, _peer):
        self.asked.append(bytes(frame))
        answer = self.answers.get(bytes(frame), [frame])
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def connection():
    return FakeConnection()


@pytest.fixture
def dispatcher():
    return FakeDispatcher()


@pytest.fixture
def room():
    return Room(1 << 20)


@pytest.fixture
def peer():
    return Peer(software_name="kcat", software_version="1.7.1")


@pytest.fixture
def session(connection, dispatcher, room, peer):
    return KafkaSession(connection, peer, dispatcher, room, {"connection": 1})


def framed(body):
    return struct.pack(">i", len(body)) + body


def test_requests_are_answered_in_their_order(session, connection):
    connection.input += [framed(b"request 1") + framed(b"request 2"), None, framed(b"request 3")]
    session.run()
    assert connection.written == [b"request 1", b"request 2", b"request 3"]
    assert connection.finished is False


def test_some_are_not_answered(session, connection, dispatcher):
    dispatcher.answers[b"request 1"] = None
    connection.input.append(framed(b"request 1") + framed(b"request 2"))
    session.run()
    assert connection.written == [b"request 2"]


def test_some_are_answered_later(session, connection, dispatcher):
    commit = Commit()
    dispatcher.answers[b"request 1"] = Later(commit, lambda: [b"stored"])
    connection.input.append(framed(b"request 1"))
    session.run()
    ((given, finish, size),) = connection.later
    assert (given, size) == (commit, 9)
    assert finish() == [b"stored"]


def refuse():
    raise RefusedError("it cannot be stored")


def test_what_is_refused_when_it_could_not_be_stored_ends_the_connection(session, connection, dispatcher, caplog):
    dispatcher.answers[b"request 1"] = Later(Commit(), refuse)
    connection.input.append(framed(b"request 1"))
    session.run()
    ((_, finish, _),) = connection.later
    assert finish() == ()
    assert connection.dropped
    assert "connection closed: it cannot be stored" in caplog.text
    assert "bug" not in caplog.text


def test_a_reply_that_cannot_be_made_ends_the_connection(session, connection, dispatcher, caplog):
    dispatcher.answers[b"request 1"] = Later(Commit(), lambda: 1 / 0)
    connection.input.append(framed(b"request 1"))
    session.run()
    ((_, finish, _),) = connection.later
    assert finish() == ()
    assert connection.dropped
    assert "bug: a reply could not be made" in caplog.text


def test_after_each_reply_there_must_be_room(session, connection):
    connection.input.append(framed(b"request 1") + framed(b"request 2"))
    session.run()
    assert connection.waits == 2


def test_what_has_begun_is_due(session, connection):
    connection.input += [framed(b"request 1")[:9], framed(b"request 1")[9:]]
    session.run()
    assert connection.dues == [HALF_SENT_SECONDS, None]
    assert connection.written == [b"request 1"]


def test_a_large_request_has_room_until_it_is_answered(session, connection, dispatcher, room):
    large = framed(b"x" * 100_000)
    used = []
    connection.input += [large[:1000], None, large[1000:50_000], large[50_000:]]
    dispatcher.answer = lambda frame, _peer: used.append((room.used_bytes, len(frame)))
    session.run()
    assert used == [(100_000, 100_000)]
    assert room.used_bytes == 0
    assert connection.dues == [HALF_SENT_SECONDS + 100_000 / SLOWEST_BYTES, None]


def test_or_until_it_is_stored(session, connection, dispatcher, room):
    commit = Commit()
    large = b"x" * 100_000
    dispatcher.answers[large] = Later(commit, lambda: [b"stored"])
    connection.input += [framed(large)[:1000], framed(large)[1000:]]
    session.run()
    assert room.used_bytes == 100_000
    commit.finish()
    gevent.sleep(0)
    assert room.used_bytes == 0


@pytest.mark.parametrize("end", [b"", ClientGone(), LateError()], ids=["the end", "gone", "late"])
def test_or_until_the_client_is_gone(session, connection, room, end):
    connection.input += [framed(b"x" * 100_000)[:1000], end]
    try:
        session.run()
    except ClientGone:
        assert isinstance(end, ClientGone)
    assert room.used_bytes == 0
    assert connection.written == []


def test_large_replies_are_counted_until_they_are_read(session, connection, dispatcher):
    used = []
    connection.wait_for_room = lambda: used.append(dispatcher.unread.used_bytes)
    dispatcher.answers[b"request 1"] = [bytes(LARGE_BYTES), b"x"]
    connection.input.append(framed(b"request 1") + framed(b"request 2"))
    session.run()
    assert used == [LARGE_BYTES + 1, 0]
    assert dispatcher.unread.used_bytes == 0


def test_what_was_read_is_answered_before_the_end(session, connection, dispatcher):
    dispatcher.answer = lambda frame, _peer: (session.drain(), [frame])[1]
    connection.input += [framed(b"request 1") + framed(b"request 2"), framed(b"request 3")]
    session.run()
    assert connection.written == [b"request 1", b"request 2"]
    assert connection.finished is True


def test_what_is_refused_is_said_once_with_the_software(session, connection, dispatcher, caplog):
    dispatcher.answers[b"request 2"] = RefusedError("a request to nobody")
    connection.input.append(framed(b"request 1") + framed(b"request 2") + framed(b"request 3"))
    session.run()
    assert connection.written == [b"request 1"]
    assert connection.finished is True
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "connection closed: a request to nobody")
    assert record.software == "kcat 1.7.1"


def test_requests_before_what_is_none_are_answered(session, connection, caplog):
    connection.input.append(framed(b"request 1") + b"\xff" * 8)
    session.run()
    assert connection.written == [b"request 1"]
    assert "a request of -1 bytes" in caplog.text


def test_http_is_told_what_this_port_is(session, connection, caplog):
    connection.input.append(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    session.run()
    assert connection.written == [HTTP_REPLY]
    assert connection.finished is True
    assert "the client speaks HTTP" in caplog.text


def test_tls_is_told_nothing(session, connection, caplog):
    connection.input.append(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    session.run()
    assert connection.written == []
    assert "the client speaks TLS" in caplog.text


def test_who_comes_to_no_end_is_late(session, connection, caplog):
    connection.input += [framed(b"request 1")[:5], LateError()]
    session.run()
    assert "it has sent a part of a request, and no more" in caplog.text


def test_handlers_can_ask_whether_the_client_is_gone(session, peer):
    assert peer.is_gone()
