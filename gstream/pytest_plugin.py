"""Fixtures for everybody's tests: a real server, and a client with a topic of its own. Loaded by pytest by itself.

    def test_orders_are_published(gstream):
        shop.sell("tea", queue=gstream)
        assert gstream.consume() == [b"tea"]

More clients, where the name ``gstream`` is the fixture's:

    from gstream import Client

    def test_orders_reach_every_group(gstream, gstream_server):
        with Client(*gstream_server, topic=gstream.topic, group="billing") as billing:
            gstream.publish(b"tea")
            assert billing.consume() == [b"tea"]

With ``gstream[kafka]`` installed, ``gstream_kafka`` is a Kafka topic of the test's own, for any Kafka client:

    def test_orders_are_announced(gstream_kafka):
        shop.sell("tea", bootstrap_servers=gstream_kafka.bootstrap_servers, topic=gstream_kafka.topic)
        assert gstream_kafka.values() == [b"tea"]

It puts records in, looks at what was produced, and lets APIs fail on order: gstream.kafka_testing.KafkaTopic.

Costs about 2 ms where the fixtures are not used: what they need is imported by the first test that does. The server
runs in a native thread, whatever the tests do with gevent: it neither makes a hub in theirs nor uses one that is there.
Tests that are monkey-patched need gevent's default loop: with libuv, two loops of one process do not run side by side.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import pytest

if TYPE_CHECKING:
    from gstream.client import Client
    from gstream.kafka_testing import KafkaTopic
    from gstream.service import Service

__all__ = ["RunningServer", "Server"]

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 30.0
"""For the server to start, and to stop: far longer than either takes."""

SETTINGS: Final[dict[str, Any]] = {
    "port": 0,
    # Many more would raise the limit on open files (ulimit -n), which is that of the tests' own process, too.
    "max_connections": 512,
    "max_topics": 1_000_000,
    "retain_bytes": 1 << 20,
    "grace_seconds": 1.0,
}
"""Where the server differs from one that is started without options."""

LONGEST_NAME: Final = 100
"""Of a topic's name, so much comes from the test's; the server takes 249 bytes, and dead letters need four."""

DEAD_LETTERS: Final = ".dlq"


class Server(NamedTuple):
    """Where the tests' server listens: ``Client(*server)`` connects to it; ``str(server)`` is ``host:port``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_RUNNING: Final = pytest.StashKey[Server | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--gstream-server``, and ``gstream_server`` in pytest's configuration."""
    text = "Server for the fixtures gstream_server and gstream; by default they start one, for each run of tests."
    parser.getgroup("gstream").addoption("--gstream-server", metavar="HOST:PORT", help=text)
    parser.addini("gstream_server", f"HOST:PORT. {text}", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Raises pytest.UsageError for a server that is not written as HOST:PORT."""
    text = config.getoption("--gstream-server") or config.getini("gstream_server")
    config.stash[_RUNNING] = _parse(text) if text else None


@pytest.fixture(scope="session")
def gstream_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A gstream server on a free port, for the whole run: ``gstream_server.host``, ``gstream_server.port``.

    It runs in a thread of this process (with pytest-xdist: one in each worker), and keeps messages in memory. Tests
    that need a server with settings of their own: ``with gstream.testing.ServerThread(lease_seconds=0.1) as server:``.

    With ``--gstream-server HOST:PORT`` it is that server, which has to be running, instead.
    """
    given = pytestconfig.stash[_RUNNING]
    if given is not None:
        yield given
        return
    _import(pytestconfig, "gstream.service")
    with _serve(SETTINGS) as running:
        yield Server(running.host, running.port)


@pytest.fixture
def gstream(request: pytest.FixtureRequest, gstream_server: Server) -> Iterator[Client]:
    """A gstream.Client on a topic of its own, ``gstream.topic``, which is named after the test and empty.

    More clients: ``from gstream import Client``, ``Client(*gstream_server, topic=..., group=...)``. After the test it
    is closed, and its topic and that of its dead letters are removed. If others still consume from one of them, what is
    left in it counts as consumed, by every group.
    """
    from gstream.client import Client  # noqa: PLC0415  # only those who use it pay for it

    topic = _name_for(request)
    try:
        with Client(*gstream_server, topic=topic) as client:
            yield client
    finally:
        _remove(gstream_server, topic)


@pytest.fixture(scope="session")
def gstream_kafka_server(pytestconfig: pytest.Config) -> Iterator[RunningServer]:
    """A gstream server for Kafka's clients, for the whole run: ``gstream_kafka_server.bootstrap_servers``.

    It listens on free ports, keeps messages in memory, makes topics by itself, and lets a group begin without delay.
    """
    _import(pytestconfig, "gstream.service", "gstream.kafka.server", "gstream.kafka_testing")
    with _serve({**SETTINGS, "kafka": True, "kafka_port": 0}) as server:
        yield server


@pytest.fixture
def gstream_kafka(request: pytest.FixtureRequest, gstream_kafka_server: RunningServer) -> Iterator[KafkaTopic]:
    """A Kafka topic of the test's own: ``gstream_kafka.bootstrap_servers``, ``gstream_kafka.topic``.

    See gstream.kafka_testing.KafkaTopic. After the test it is removed, with the faults that were ordered.
    """
    from gstream.kafka_testing import KafkaTopic  # noqa: PLC0415  # only those who use it pay for it

    topic = KafkaTopic(gstream_kafka_server, gstream_kafka_server.bootstrap_servers, _name_for(request))
    try:
        yield topic
    finally:
        topic.clear_faults()
        topic.remove()


def _name_for(request: pytest.FixtureRequest) -> str:
    """A topic's name that tells which test it is of. Another run of it may use the same server, at the same time."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", request.node.name)[:LONGEST_NAME]
    return f"{safe}-{os.urandom(4).hex()}"


def _parse(text: str) -> Server:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port):
        raise pytest.UsageError(f"--gstream-server: expected HOST:PORT, got {text!r}")
    return Server(host, int(port))


def _remove(server: Server, topic: str) -> None:
    """Leave nothing, at the least nothing that some group has still to take. A server that is gone has nothing."""
    from gstream.client import Client  # noqa: PLC0415  # see above
    from gstream.errors import ClientError, RefusedError  # noqa: PLC0415

    with suppress(ClientError), Client(*server, reconnect_seconds=0) as client:
        for name in (topic, topic + DEAD_LETTERS):
            with suppress(RefusedError):  # there is no such topic: nothing was published
                try:
                    client.delete_topic(name)
                except RefusedError as error:
                    if error.code != "busy":
                        raise
                    _consume_all(client, name)  # which ends the leases of clients whose end was not noticed yet
                    client.delete_topic(name)


def _consume_all(client: Client, topic: str) -> None:
    facts = client.stats(topic)
    for group in re.findall(r"^group\.(.+)\.backlog$", "\n".join(facts), re.MULTILINE):
        client.use(topic, group)
        client.seek("$")


def _import(config: pytest.Config, *modules: str) -> None:
    """Import what the fixtures need, and only those who use them pay for; without pytest's rewriting.

    It does that with the whole package of a plugin, for the sake of its asserts, which here takes longer (0.2 s) than
    the import itself. And what kafka-python warns of when it is imported is not the affair of anybody's tests.
    """
    hook = config.pluginmanager.rewrite_hook
    finders: list[Any] = sys.meta_path
    at = finders.index(hook) if hook in finders else None
    if at is not None:
        del finders[at]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for module in modules:
                importlib.import_module(module)
    finally:
        if at is not None:
            finders.insert(at, hook)


class RunningServer:
    """A server in a thread of this process: ``host``, ``port``, and ``bootstrap_servers`` for Kafka's clients."""

    def __init__(self, service: Service, hub: Any) -> None:
        self.service = service
        """To look at from :meth:`call` only."""
        self._hub = hub
        self.host = service.config.host
        self.port = service.port
        port = service.kafka.port if service.kafka is not None else 0
        self.bootstrap_servers = f"{service.config.kafka_host}:{port}"

    def call(self, function: Callable[[Service], T]) -> T:
        """What ``function(service)`` returns or raises; it runs in the server's thread, between two of its turns."""
        from gevent import monkey  # noqa: PLC0415  # only those who use it pay for it

        answers = monkey.get_original("queue", "SimpleQueue")()

        def run() -> None:
            try:
                answers.put((function(self.service), None))
            except BaseException as error:  # noqa: BLE001  # raised in the thread that waits for it
                answers.put((None, error))

        self._hub.loop.run_callback_threadsafe(run)
        value, error = answers.get(timeout=TIMEOUT_SECONDS)
        if error is not None:
            raise error
        result: T = value
        return result


@contextmanager
def _serve(settings: dict[str, Any]) -> Iterator[RunningServer]:
    """A server in a native thread: also where threads are monkey-patched to be greenlets of the tests' own hub."""
    from gevent import get_hub, monkey  # noqa: PLC0415  # only those who use it pay for it

    from gstream.config import Config  # noqa: PLC0415
    from gstream.service import Service  # noqa: PLC0415

    config = Config(**settings)
    reports = monkey.get_original("queue", "SimpleQueue")()

    def serve() -> None:
        end: BaseException | None = None
        try:
            with Service(config) as service:
                reports.put(RunningServer(service, get_hub()))
                service.run_until_stopped()
        except BaseException as error:  # noqa: BLE001  # raised in the thread that waits for it
            end = error
        get_hub().destroy(destroy_loop=True)
        reports.put(end)

    monkey.get_original("_thread", "start_new_thread")(serve, ())
    server = reports.get(timeout=TIMEOUT_SECONDS)
    if not isinstance(server, RunningServer):
        raise server
    try:
        yield server
    finally:
        server.service.request_stop()
        error = reports.get(timeout=TIMEOUT_SECONDS)
        if error is not None:
            raise error
