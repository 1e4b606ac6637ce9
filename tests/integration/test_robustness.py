"""Bad input costs nothing: random bytes, every split, and a server that behaves like a small model of it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gstream.service import Service
from gstream.testing import ServerProcess, ServerThread, Session, wait_until

MAX_MESSAGE = 20


@pytest.fixture(scope="module")
def small_server() -> Iterator[ServerThread]:
    with ServerThread(max_message_bytes=MAX_MESSAGE) as server:
        yield server


class Model:
    """The protocol of the tutorial, and ``z``, line by line, in the most obvious way."""

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()

    def replies(self, sent: bytes) -> bytes:
        """What is answered to a client that sends this and closes its sending side."""
        out = b""
        for line in sent.split(b"\n"):
            eol = b"\r\n" if line.endswith(b"\r") else b"\n"
            body = line.removesuffix(b"\r")
            if not body:
                continue
            if body == b"q":
                break
            out += self._reply(body, eol)
        return out

    def _reply(self, line: bytes, eol: bytes) -> bytes:
        letter, argument = line[:1], line[1:]
        if len(argument) > MAX_MESSAGE:
            return b"- toobig longer than %d bytes, the server's --max-message" % MAX_MESSAGE + eol
        if letter == b"p":
            self.queue.append(argument)
            return b"ok\r\n"
        if line == b"c":
            return self.queue.popleft() + eol if self.queue else b""
        if letter == b"z":
            return b"+ " + argument + eol
        return b"- unknown no such command; h lists them" + eol


line = st.one_of(
    st.binary(max_size=MAX_MESSAGE + 3).map(lambda body: b"p" + body.replace(b"\n", b"")),
    st.sampled_from([b"c", b"c", b"c", b"q", b"", b"p", b"zmark", b"connection: close", b"X", b"p" + b"y" * 100]),
)
session = st.lists(st.tuples(line, st.sampled_from([b"\n", b"\n", b"\r\n"])), max_size=30).map(
    lambda lines: b"".join(text + ending for text, ending in lines)
)


@settings(max_examples=300, deadline=None)
@given(sent=session, cuts=st.lists(st.integers(0, 400), max_size=4))
def test_the_server_answers_as_the_model_does(small_server: ServerThread, sent: bytes, cuts: list[int]) -> None:
    model = Model()
    with Session(small_server) as client:
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), None], strict=True):
            client.send(sent[start:stop])
        client.half_close()
        assert client.read_all() == model.replies(sent)
    with Session(small_server) as rest:  # what is left in the queue, and the queue left empty for the next example
        rest.send(b"c\n" * (len(model.queue) + 1))
        rest.expect(b"".join(body + b"\n" for body in model.queue))
        rest.expect_nothing()


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_survived(small_server: ServerThread, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    noise = random.Random(seed)
    alphabet = [bytes([byte]) for byte in range(256)] + [b"\n", b"\r\n", b"p", b"c\n", b"\xff\xfd", b"w0 3\n"] * 20
    with Session(small_server) as client:
        client.send(b"".join(noise.choices(alphabet, k=5000)))
        client.half_close()
        client.read_all()
    with Session(small_server) as client:
        client.send(b"zstill here\n")
        client.expect(b"+ still here\n")
    assert not [record for record in caplog.records if record.exc_info]


def test_every_split_of_a_session() -> None:
    sent = b"pone\r\npt\xffwo\n\nc\r\nc\nc\nzend\r\nw0\nGET / HTTP/1.1\r\nunused\nc\n"
    unknown = b"- unknown no such command; h lists them"
    expected = b"ok\r\nok\r\none\r\nt\xffwo\n+ end\r\n.\n" + unknown + b"\r\n" + unknown + b"\n"
    with ServerThread() as server:
        for cut in range(len(sent) + 1):
            with Session(server) as client:
                client.send(sent[:cut])
                client.send(sent[cut:])
                client.half_close()
                assert client.read_all() == expected, f"cut at {cut}"


def test_endless_lines_leave_the_memory_flat() -> None:
    with ServerProcess("--max-message", "1KiB") as server, Session(server) as client:
        client.expect_nothing()
        before = server.rss_bytes
        for _ in range(64):
            client.send(b"p" + b"x" * (1 << 20))
        client.send(b"\nzend\n")
        client.expect(b"- toobig longer than 1024 bytes, the server's --max-message\n+ end\n")
        assert server.rss_bytes - before < 8 << 20


def test_the_beginning_of_a_line_is_no_command_after_a_reset() -> None:
    with ServerThread() as server:
        for _ in range(20):
            client = Session(server)
            client.send(b"zready\npHalf a mess")
            client.expect(b"+ ready\n")
            client.reset()
        wait_until(lambda: server.call(count_sessions) == 0, "the server has noticed")
        with Session(server) as client:
            client.send(b"c\n")
            client.expect_nothing()


def count_sessions(service: Service) -> int:
    return service.connection_count
