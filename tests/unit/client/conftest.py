"""A server that is a script: what it expects, and what it then says. No socket, no clock, no chance."""

from __future__ import annotations

import random
import select
import socket
import struct
import time
from collections import deque

import pytest

from gstream.client import Client

BANNER = b"pXXX -> publish content XXX\r\nc -> consume new content\r\nq -> close stream\r\n"
READY = (b"zready\n", BANNER + b"+ ready\n")
END = b""


class Peer:
    """What a client uses of a socket, and the server behind it.

    exchanges: pairs of the bytes that must be sent next, and what then comes: bytes, or a list of pieces, each
    received by itself; the piece END is the connection's end. An exception in the place of either is raised. A piece
    that is a function is called, and what it gives is received.
    chunk: so many bytes are taken at a time.
    """

    def __init__(self, *exchanges, greeting=READY):
        self.exchanges = deque([greeting, *exchanges] if greeting else exchanges)
        self.pieces = deque()
        self.sent = b""
        self.windows = []
        self.timeouts = []
        self.closed = False
        self.options = []
        self.sent_with = []
        self.chunk = None

    def say(self, *pieces):
        """Send without being asked."""
        self.pieces.extend(pieces)

    def settimeout(self, seconds):
        self.timeouts.append(seconds)

    def setsockopt(self, *option):
        self.options.append(option)

    @property
    def linger(self):
        """What a close would do now: b"reset", or None."""
        values = [value for level, name, value in self.options if name == socket.SO_LINGER]
        return b"reset" if values and struct.unpack("ii", values[-1]) == (1, 0) else None

    def send(self, data):
        assert not self.closed
        data = data[: self.chunk]
        self.sent_with.append(self.linger)
        if self.exchanges and isinstance(self.exchanges[0][0], Exception):
            raise self.exchanges.popleft()[0]
        self.sent += data
        self.windows.append(bytes(data))
        while self.exchanges and not isinstance(self.exchanges[0][0], Exception):
            if not self.sent.startswith(self.exchanges[0][0]):
                break
            expected, reply = self.exchanges.popleft()
            self.sent = self.sent[len(expected) :]
            self.say(*(reply if isinstance(reply, list) else filter(None, [reply])))
        assert not self.sent or (self.exchanges and self.exchanges[0][0].startswith(self.sent)), f"got {self.sent!r}"
        return len(data)

    def recv(self, size):
        assert not self.closed
        if not self.pieces:
            raise TimeoutError("timed out")
        piece = self.pieces.popleft()
        if isinstance(piece, BaseException):
            raise piece
        if callable(piece):
            piece = piece()
        if len(piece) > size:
            self.pieces.appendleft(piece[size:])
        if piece == END:
            self.pieces.appendleft(END)
        return piece[:size]

    def close(self):
        self.closed = True
        self.closed_with = self.linger


class Poll:
    """What a client uses of select.poll: whether something can be received from a peer at once."""

    def register(self, peer, events):
        assert events == select.POLLIN
        self.peer = peer

    def poll(self, milliseconds):
        assert milliseconds == 0
        return list(self.peer.pieces)


class Clock:
    """The time, as far as it is told to go on."""

    def __init__(self):
        self.now = 1000.0
        self.sleeps = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    return clock


@pytest.fixture
def network(monkeypatch, clock):
    """``network(*peers)``: who answers one connection after the other: lists of exchanges; an exception is raised.

    Gives the peers. At the end of the test each must have been connected to, and have said and heard all of its list.
    """
    waiting = deque()
    met = []

    def create_connection(address, timeout):
        assert address == ("queue.example", 9000)
        assert timeout == 0.9
        assert waiting, "one connection more than there are peers"
        peer = waiting.popleft()
        if isinstance(peer, Exception):
            raise peer
        met.append(peer)
        return peer

    def network(*scripts, greeting=READY):
        those = [each if isinstance(each, Exception) else Peer(*each, greeting=greeting) for each in scripts]
        waiting.extend(those)
        return those

    monkeypatch.setattr(socket, "create_connection", create_connection)
    monkeypatch.setattr(select, "poll", Poll)
    yield network
    assert not waiting, "nobody connected"
    for peer in met:
        assert not peer.exchanges
        assert not [piece for piece in peer.pieces if piece != END]
        assert peer.sent == b""


@pytest.fixture
def connect(network):
    """``connect(*exchanges, **arguments)``: a client and its only peer."""

    def connect(*exchanges, greeting=READY, **arguments):
        (peer,) = network(exchanges, greeting=greeting)
        client = Client("queue.example", 9000, **{"reconnect_seconds": 0, **arguments})
        peer.windows.clear()
        del peer.timeouts[:-1]  # the one that is set
        return client, peer

    return connect


@pytest.fixture
def reconnect(network):
    """``reconnect(*scripts, **arguments)``: a client of the first, and all the peers."""

    def reconnect(*scripts, **arguments):
        those = network(*scripts)
        return Client("queue.example", 9000, **arguments), those

    return reconnect
