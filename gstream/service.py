"""A running server: what starts and stops, in which order.

with Service(Config(port=0)) as service:
    print(service.port)
    service.run_until_stopped()
"""

from __future__ import annotations

import contextlib
import logging
import resource
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.pool import Pool

from gstream import protocol
from gstream.accepting import Acceptor
from gstream.agenda import Agenda
from gstream.broker import Broker
from gstream.config import Config
from gstream.errors import ConfigError
from gstream.listeners import UnixListener, address_of, open_tcp, resolve
from gstream.server import LineServer
from gstream.session import SessionSettings
from gstream.storage.memory import Memory
from gstream.storage.threads import Threads
from gstream.topic import TopicSettings

if TYPE_CHECKING:
    from gstream.kafka.server import KafkaListener
    from gstream.storage.disk import Disk

__all__ = ["Service", "open_engine"]

log = logging.getLogger(__name__)

SPARE_FILES = 64
"""File descriptors that are not for clients: the loop's, the listeners, the log, a few for whoever embeds us."""

LONGEST_WAIT_SECONDS = 3600.0
"""The loop's timers take no wait of years."""

UNPACKING_THREADS = 2
"""Of a server in memory: so many batches of Kafka's records, of up to 64 MiB each, are unpacked beside the clients."""

TURN_SECONDS = 0.002
"""So long things are done that are due, before the clients get a turn."""

SHORTEST_SLEEP_SECONDS = 0.001
"""libuv's timers know no less. A timer, however short, runs after the loop has polled; a callback would not."""

KILL_SECONDS = 1.0
"""How long a session may take that was killed."""


class Service:
    """One server with its listeners, in this thread's hub.

    Making it opens the data directory, entering it starts it and leaving it stops it: the same list backwards. Raises
    StorageError when it is made, and ConfigError and ListenError from the start.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.agenda = Agenda()
        self.engine = open_engine(config, self.agenda)
        topics = TopicSettings(config.partitions, config.lease_seconds, config.max_attempts)
        self.broker = Broker(self.engine, self.agenda, topics, config.max_topics, config.max_groups)
        self.port = 0
        """The TCP port, once it is started."""
        self.endpoints: list[str] = []
        """Where it listens, once it is started: ``127.0.0.1:8080``, ``[::1]:8080``, a path."""
        self.kafka: KafkaListener | None = None
        """For Kafka's clients, once it is started; None: it is off."""
        self._sessions = SessionSettings(self.broker, config.max_message_bytes, config.max_connections)
        self._agenda_changed = Event()
        self.agenda.on_earlier = self._agenda_changed.set
        self._timekeeper: gevent.Greenlet[[], None] = gevent.Greenlet(self._keep_time)
        self._clients = Pool()
        self._servers: list[Acceptor] = []
        self._unix: UnixListener | None = None
        self._stop = Event()
        self._started = False
        self._stop_lock = threading.RLock()  # a request may come from any thread while the watcher is closed
        self._stop_from_elsewhere: Any = gevent.get_hub().loop.async_()
        self._stop_from_elsewhere.start(self._stop.set)

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. Either everything is started, or nothing is left behind. Once only."""
        if self._started:
            raise RuntimeError("a Service starts once; make another")
        self._started = True
        config = self.config
        more = config.max_topics * config.partitions if self.engine.keeps else 0
        self._sessions.max_connections = _limit_connections(config.max_connections, self.engine.file_count, more)
        if self.engine.keeps:
            self.broker.max_topics = self._limit_topics()
        try:
            addresses = resolve(config.host, config.port, insecure=config.insecure)
            listeners = open_tcp(addresses)
            self.port = listeners[0].getsockname()[1]
            banner = protocol.BANNER if config.banner else b""
            for listener in listeners:
                self._servers.append(LineServer(listener, self._sessions, self._clients, banner))
                self.endpoints.append(address_of(listener))
            if config.socket is not None:
                self._unix = UnixListener(config.socket)
                self._servers.append(LineServer(self._unix.socket, self._sessions, self._clients, banner=b""))
                self.endpoints.append(config.socket)
            if config.kafka:
                self.kafka = _open_kafka(config)
            self.engine.start()
            if self.kafka is not None:
                self._servers += self.kafka.serve(self.broker, self._sessions, self._clients)
            self._timekeeper.start()
            for server in self._servers:
                server.start()
        except BaseException:
            self._close_listeners()
            self._timekeeper.kill()
            self.engine.close()
            self._close_stop()
            raise
        facts: dict[str, object] = {"endpoints": self.endpoints, "engine": self.engine.name}
        if self.kafka is not None:
            facts["kafka"] = self.kafka.endpoints
        log.info("listening", extra=facts)

    def _limit_topics(self) -> int:
        """How many topics the limit on open files allows: each log has a file open."""
        config = self.config
        logs = _open_files_limit() - self._sessions.max_connections - SPARE_FILES
        allowed = max(1, logs // config.partitions)
        if allowed < config.max_topics:
            self.broker.topics_bound = "as many as the limit on open files (ulimit -n) allows"
            log.info("the limit on open files (ulimit -n) allows fewer topics", extra={"topics": allowed})
        return min(config.max_topics, allowed)

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self._sessions.sessions)

    def request_stop(self) -> None:
        """End :meth:`run_until_stopped`; from any thread, greenlet or signal handler; harmless when it has ended."""
        with self._stop_lock:
            if self._stop_from_elsewhere is not None:
                self._stop_from_elsewhere.send()

    def run_until_stopped(self) -> None:
        """Serve until somebody calls :meth:`request_stop`."""
        self._stop.wait()

    def stop(self) -> None:
        """No new connections; what was read is answered; out within the grace time."""
        sessions = self._sessions.sessions
        log.info("stopping", extra={"connections": len(sessions)})
        deadline = time.monotonic() + self.config.grace_seconds
        self._close_listeners()
        self._sessions.stopping = True
        if self.kafka is not None:
            self.kafka.stop_waiting()
        for session in list(sessions):
            session.drain()
        self._clients.join(timeout=max(0.0, deadline - time.monotonic()))
        if self._clients:
            log.warning("the grace time is over: connections closed", extra={"connections": len(self._clients)})
            self._clients.kill(timeout=KILL_SECONDS)
        self._servers.clear()
        self._timekeeper.kill()
        if self.kafka is not None:
            self.kafka.end()
        self.engine.close()
        self._close_stop()
        left = self.broker.unfinished_count
        if left and not self.engine.keeps:
            log.warning("stopped; the messages in memory are lost", extra={"messages": left})
        else:
            log.info("stopped", extra={"messages": left} if left else {})

    def _keep_time(self) -> None:
        """Do what is on the agenda when it is due, and let everybody else have turns in between."""
        while True:
            self._agenda_changed.clear()
            turn_ends = time.monotonic() + TURN_SECONDS
            seconds: float | None = 0.0
            while seconds == 0 and time.monotonic() < turn_ends:
                try:
                    seconds = self.agenda.run_next()
                except Exception:  # without this greenlet no lease would ever end
                    log.exception("bug: something on the agenda failed")
            if seconds is None:
                self._agenda_changed.wait()
            elif seconds:
                self._agenda_changed.wait(min(max(seconds, SHORTEST_SLEEP_SECONDS), LONGEST_WAIT_SECONDS))
            else:
                gevent.sleep(SHORTEST_SLEEP_SECONDS)

    def _close_stop(self) -> None:
        with self._stop_lock:
            if self._stop_from_elsewhere is not None:
                self._stop_from_elsewhere.close()
                self._stop_from_elsewhere = None

    def _close_listeners(self) -> None:
        for server in self._servers:
            server.close()
        if self.kafka is not None:
            self.kafka.close()
        if self._unix is not None:
            self._unix.close()
            self._unix = None


def open_engine(config: Config, agenda: Agenda) -> Memory | Disk:
    """Where messages are kept. Raises StorageError, ConfigError."""
    if config.data_dir is None:
        limits = (config.limit_bytes, config.limit_seconds)
        pool = Threads(UNPACKING_THREADS)
        return Memory(config.max_memory_bytes, config.retain_bytes, agenda=agenda, limits=limits, pool=pool)
    from gstream.storage.disk import Disk, DiskSettings  # noqa: PLC0415  # it needs crc32c, others do not

    settings = DiskSettings(
        config.sync_seconds,
        config.retain_bytes,
        config.limit_bytes,
        config.limit_seconds,
        config.segment_bytes,
        config.segment_seconds,
    )
    return Disk(config.data_dir, config.max_memory_bytes, agenda, settings)


def _open_kafka(config: Config) -> KafkaListener:
    """The sockets for Kafka's clients. Raises ConfigError, ListenError."""
    try:
        from gstream.kafka.server import KafkaListener  # noqa: PLC0415  # it needs packages that others do not
    except ModuleNotFoundError as error:
        raise ConfigError(f"--kafka needs {error.name}; pip install 'gstream[kafka]'") from None
    return KafkaListener(config)


def _open_files_limit() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _limit_connections(wanted: int, file_count: int, more: int) -> int:
    """Raise the limit on open files as far as it goes; how many connections it allows beside so many files.

    more: so many further files would be of use.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = SPARE_FILES + (file_count if hard == resource.RLIM_INFINITY else min(file_count, hard // 2))
    needed = wanted + spare
    if soft != resource.RLIM_INFINITY and soft < needed + more:
        most = needed + more if hard == resource.RLIM_INFINITY else min(needed + more, hard)
        most = max(most, soft)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = max(1, soft - spare)
    log.warning("the limit on open files (ulimit -n) allows fewer connections", extra={"connections": allowed})
    return allowed
