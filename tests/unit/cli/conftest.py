"""The commands without a server: how they are run, and a client that is none."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

import gstream.client
from gstream.cli import cli
from gstream.client.message import Message
from gstream.errors import DisconnectedError, RefusedError


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("GSTREAM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def stdin(tmp_path):
    """``stdin(content)``: what the commands read from descriptor 0."""
    before = os.dup(0)

    def stdin(content):
        path = tmp_path / "stdin"
        path.write_bytes(content)
        descriptor = os.open(path, os.O_RDONLY)
        os.dup2(descriptor, 0)
        os.close(descriptor)

    yield stdin
    os.dup2(before, 0)
    os.close(before)


@pytest.fixture
def run():
    """``run(*arguments)``: what a command says, on both of its channels, and its exit code; only an exit is raised."""

    def run(*arguments):
        result = CliRunner().invoke(cli, arguments, prog_name="gstream")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result.output, result.exit_code

    return run


class FakeLease:
    """What the commands use of a Lease."""

    def __init__(self, client, messages):
        self.messages = messages
        self._client = client

    def __len__(self):
        return len(self.messages)

    def acknowledge(self, *messages):
        if self._client.too_late is not None:
            raise self._client.too_late
        self._client.acknowledged += [message.id for message in messages]

    def give_back(self, message, _delay_seconds=0.0):
        self._client.given_back.append(message.id)

    def release(self, *messages):
        self._client.released += [message.id for message in messages]

    def extend(self, message):
        self._client.extended.append(message.id)


class FakeClient:
    """What the commands use of a Client: makes itself when it is called, and keeps what it is asked."""

    def __init__(self):
        self.address = None
        self.arguments = {}
        self.error = None
        """Raised by connecting, if it is a ServerUnreachableError; otherwise by what comes after the first success."""
        self.too_late = None
        """Raised by acknowledging."""
        self.closed = False
        self.published = []
        self.queue = []
        self.waits = []
        self.acknowledged, self.given_back, self.released, self.extended = [], [], [], []
        self.places = []
        self.forgotten = []
        self.made, self.changed, self.removed = [], [], []
        self.figures = {}
        """Of topics by name; None: the server's own."""

    def __call__(self, host, port, *, socket_path, **arguments):
        self.address = socket_path or (host, port)
        self.arguments = arguments
        self.topic, self.group = arguments.get("topic"), arguments.get("group")
        if self.error is not None and not isinstance(self.error, DisconnectedError | RefusedError):
            raise self.error
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True

    def put(self, *bodies):
        self.queue += [Message(str(number), 1, body) for number, body in enumerate(bodies)]

    def publish(self, bodies, *, key=None, delay_seconds=0.0, id=None):
        if self.error is not None and self.published:
            raise self.error
        many = [bodies] if isinstance(bodies, bytes) else list(bodies)
        self.published.append((many, key, delay_seconds, id))
        return len(many)

    @property
    def bodies(self):
        """All that was published."""
        return [body for bodies, *_ in self.published for body in bodies]

    def lease(self, count, *, wait_seconds):
        self.waits.append((count, wait_seconds))
        if self.error is not None:
            raise self.error
        taken, self.queue = self.queue[:count], self.queue[count:]
        return FakeLease(self, taken)

    def peek(self, count):
        return self.queue[:count]

    def seek(self, where):
        self.places.append(where)
        return ["7"]

    def use(self, *, topic):
        self.topic = topic

    def forget_group(self, name):
        self.forgotten.append((self.topic, name))

    def create_topic(self, name, partitions=None, **limits):
        self.made.append((name, partitions, limits))

    def change_topic(self, name, **limits):
        self.stats(name)
        self.changed.append((name, limits))

    def delete_topic(self, name):
        if self.error is not None:
            raise self.error
        self.removed.append(name)

    def ping(self):
        return 0.001

    def topics(self):
        return {name: figures.get("messages", 0) for name, figures in self.figures.items() if name is not None}

    def stats(self, topic=None):
        if topic is not None and topic not in self.figures:
            raise RefusedError("name", "no such topic")
        return self.figures.get(topic, {})


@pytest.fixture
def client(monkeypatch):
    """The client that every command gets."""
    fake = FakeClient()
    monkeypatch.setattr(gstream.client, "Client", fake)
    return fake
