"""A command for each message: ``gstream consume --exec``.

Each of the jobs is a thread with a client of its own, which leases a message, runs the command, and acknowledges the
message or gives it back. The main thread waits for what they tell it, and for signals. A job that waits for a message
holds none, so that nobody has to wait for it at the end.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gstream.cli.output import EXIT_INTERRUPTED, EXIT_NOTHING, CommandError, note
from gstream.errors import ClientError

if TYPE_CHECKING:
    from gstream.cli.consume import Wanted
    from gstream.client import Client
    from gstream.client.lease import Lease
    from gstream.client.message import Message

__all__ = ["Executor"]

USUAL_LEASE_SECONDS = 30.0
"""Of a server that does not tell."""

EXTENSIONS = 3
"""A lease is extended so often before it would end: one that comes late does no harm."""

LOOK_SECONDS = 1.0
"""A signal that comes just before a thread begins to wait does not end the waiting."""

EXIT_FAILED = EXIT_NOTHING


@dataclass(frozen=True)
class _JobEnded:
    """A job has nothing more to do, or has met an error."""

    error: BaseException | None


class Executor:
    """Runs a command for messages.

    connect: makes a client. command: for the shell. wanted: how many messages, and how long to wait for them.
    jobs: so many at a time. retry_seconds: a message whose command failed is tried again after so long.
    """

    def __init__(
        self, connect: Callable[[], Client], command: str, wanted: Wanted, *, jobs: int, retry_seconds: float
    ) -> None:
        self._connect = connect
        self._command = command
        self._wanted = wanted
        self._jobs = int(min(jobs, wanted.count))
        self._retry_seconds = retry_seconds
        self._events: queue.SimpleQueue[signal.Signals | _JobEnded | None] = queue.SimpleQueue()
        """None: a message is settled."""
        self._lock = threading.Lock()
        self._left = wanted.count
        self._stopping = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._busy = 0
        """So many jobs have a message whose command was started, and which is not settled yet."""
        self._succeeded = self._failed = 0
        self._extend_seconds = USUAL_LEASE_SECONDS / EXTENSIONS

    def run(self) -> int:
        """Run until nothing more is wanted, or a signal says so; gives the exit code. Raises GstreamError."""
        clients = [self._connect() for _ in range(self._jobs)]
        self._extend_seconds = float(clients[0].stats().get("lease", USUAL_LEASE_SECONDS)) / EXTENSIONS
        with self._signals():
            for client in clients:
                # A daemon: see above. Its connection ends with the process.
                threading.Thread(target=self._work, args=(client,), daemon=True).start()
            interrupted = self._wait()
        if self._failed:
            note(f"{self._failed} of {self._succeeded + self._failed} commands failed")
        if interrupted:
            return EXIT_INTERRUPTED
        if self._failed:
            return EXIT_FAILED
        return 0 if self._succeeded else EXIT_NOTHING

    def _wait(self) -> bool:
        """The main thread's part; gives whether it was interrupted (SIGINT). Raises what a job has ended by."""
        working = self._jobs
        signals: list[signal.Signals] = []
        failure: BaseException | None = None
        while working:
            try:
                event = self._events.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(event, _JobEnded):
                working -= 1
                failure = failure or event.error
            elif event is not None:
                signals.append(event)
            with self._lock:
                self._stopping = bool(signals or failure)
                if len(signals) > 1:
                    self._kill()
                busy = self._busy
            if self._stopping and not busy:
                break
            if isinstance(event, signal.Signals) and len(signals) == 1:
                note(f"waits for {busy} running commands; a second signal kills them")
        if failure is not None:
            raise failure
        return signal.SIGINT in signals

    def _work(self, client: Client) -> None:
        """A job's part."""
        end = _JobEnded(None)
        try:
            with client:
                while self._take_turn():
                    lease = client.lease(1, wait_seconds=self._wanted.wait_seconds())
                    if not lease:
                        break
                    self._execute(client, lease, lease.messages[0])
        except BaseException as error:  # noqa: BLE001  # raised in the main thread
            end = _JobEnded(error)
        self._events.put(end)

    def _take_turn(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0 and not self._stopping

    def _execute(self, client: Client, lease: Lease, message: Message) -> None:
        process = self._start(client, message)
        if process is None:
            with suppress(ClientError):  # it goes back anyway
                lease.give_back(message)
            return
        try:
            self._settle(lease, message, self._run(process, lease, message))
        finally:
            with self._lock:
                self._busy -= 1
            self._events.put(None)

    def _start(self, client: Client, message: Message) -> subprocess.Popen[bytes] | None:
        """Start the command; None if no more are to be started. Raises CommandError."""
        variables = {
            "GSTREAM_ID": message.id.encode(),
            "GSTREAM_ATTEMPT": b"%d" % message.attempt,
            "GSTREAM_TOPIC": client.topic.encode(),
            "GSTREAM_GROUP": client.group.encode(),
        }
        if message.key is not None and b"\0" not in message.key:  # no variable holds one
            variables["GSTREAM_KEY"] = message.key
        environment = {name: value for name, value in os.environ.items() if name != "GSTREAM_KEY"}
        with self._lock:
            if self._stopping:
                return None
            try:
                process = subprocess.Popen(  # noqa: S602  # the shell is what --exec promises
                    self._command,
                    shell=True,
                    stdin=subprocess.PIPE,
                    env={**environment, **{name: os.fsdecode(value) for name, value in variables.items()}},
                    process_group=0,  # a Ctrl-C is for this process, which lets the command finish
                )
            except OSError as error:
                raise CommandError(f"cannot run the command: {error.strerror}") from None
            self._running.add(process)
            self._busy += 1
        return process

    def _run(self, process: subprocess.Popen[bytes], lease: Lease, message: Message) -> int:
        """Wait for the command, and keep its message leased; gives its exit code."""
        data: bytes | None = message.body
        leased = True
        while True:
            try:
                process.communicate(data, timeout=self._extend_seconds)
            except subprocess.TimeoutExpired:
                data = None
                if leased:
                    try:
                        lease.extend(message)
                    except ClientError:
                        leased = False  # the acknowledgement will tell
            else:
                break
        with self._lock:
            self._running.discard(process)
        return process.returncode

    def _settle(self, lease: Lease, message: Message, code: int) -> None:
        about = f"message {message.id}, attempt {message.attempt}"
        try:
            if code:
                with self._lock:
                    self._failed += 1
                lease.give_back(message, self._retry_seconds)
                how = f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"
                note(f"{about}: {how}, given back")
            else:
                lease.acknowledge(message)
                with self._lock:
                    self._succeeded += 1
        except ClientError as error:
            with self._lock:
                self._failed += not code
            how = "the command failed" if code else "the command succeeded, but is perhaps run again"
            note(f"{about}: {how}: {error}")

    def _kill(self) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)

        def tell(number: int, _frame: object) -> None:
            self._events.put(signal.Signals(number))

        before = [signal.signal(number, tell) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
