"""Servers with the Kafka listener on, and a client that speaks bytes, for the tests of this folder."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread


class Raw:
    """A client that sends requests made by ``kafka.protocol``, or any bytes, and reads what comes.

    server: has ``host`` and ``kafka_port``.
    """

    def __init__(self, server: Any, *, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.connect((server.host, server.kafka_port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def send_frame(self, data: bytes) -> None:
        """Send bytes with their length before them."""
        self.send(struct.pack(">i", len(data)) + data)

    def send_request(self, request: Any, version: int, correlation_id: int = 0) -> None:
        """Send a request of ``kafka.protocol``."""
        request.API_VERSION = version
        request.with_header(correlation_id=correlation_id, client_id="test")
        self.send(request.encode(header=True, framed=True))

    def ask(self, request: Any, version: int, response: Any, correlation_id: int = 7) -> Any:
        """Send a request, and read the response to it."""
        self.send_request(request, version, correlation_id)
        frame = self.read_frame()
        assert struct.unpack_from(">i", frame) == (correlation_id,)
        return response.decode(frame, version=version, header=True)

    def read_frame(self) -> bytes:
        """What the server sends next, without its length."""
        (size,) = struct.unpack(">i", self.read(4))
        return self.read(size)

    def read(self, size: int) -> bytes:
        """So many bytes."""
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            assert more, f"expected {size} bytes, got {data!r} and the end"
            data += more
        return data

    def read_all(self) -> bytes:
        """Everything until the server closes."""
        data = b""
        while more := self.socket.recv(1 << 16):
            data += more
        return data

    def expect_closed(self) -> None:
        """The server closes, and sends nothing before."""
        rest = self.read_all()
        assert rest == b"", f"expected the end, got {rest[:200]!r}"


StartServer = Callable[..., ServerThread]


@pytest.fixture(params=["memory", "disk"])
def engine(request: pytest.FixtureRequest) -> str:
    """Both engines, one after the other."""
    name: str = request.param
    return name


@pytest.fixture
def settings(engine: str, tmp_path: Path) -> dict[str, Any]:
    """What a server of this engine is started with, as a ServerThread."""
    return {"data_dir": str(tmp_path / "data")} if engine == "disk" else {}


@pytest.fixture
def server(settings: dict[str, Any]) -> Iterator[ServerThread]:
    """A server of each engine, in a thread."""
    with ServerThread(kafka=True, **settings) as server:
        yield server


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts a ServerThread with these settings, on memory unless ``data_dir`` is given."""
    with ExitStack() as servers:
        yield lambda **more: servers.enter_context(ServerThread(kafka=True, **more))


@pytest.fixture
def process() -> Iterator[ServerProcess]:
    """A server in a process of its own."""
    with ServerProcess(kafka=True) as process:
        yield process


@pytest.fixture
def connect() -> Iterator[Callable[..., Raw]]:
    """Connects a Raw client to a server."""
    with ExitStack() as clients:
        yield lambda server, **more: clients.enter_context(Raw(server, **more))
