"""A command for each message: ``gstream consume --exec``.

Each of the jobs is a thread with a client of its own, which leases a message, runs the command, and acknowledges the
message or gives it back. What was not tried is released. The main thread waits for what they tell it, and for signals.
A job that waits for a message holds none, so that nobody has to wait for it at the end.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gstream.cli.collected import Collected, Outlet
from gstream.cli.output import EXIT_INTERRUPTED, EXIT_NOTHING, CommandError, note, plural
from gstream.errors import ClientError

if TYPE_CHECKING:
    from gstream.cli.consume import Wanted
    from gstream.cli.patience import PatientClient
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

CANNOT_RUN = (126, 127)
"""What the shell ends with if a command is not executable, or not found."""

LONGEST_RETRY_SECONDS = 60.0
LARGEST_EXPONENT = 10
"""2 to this is more, and 2 to the attempt no number any more."""

DEAD_LETTERS = ".dlq"

UNTIL_THE_END_SECONDS = 100_000_000.0
"""Three years: a lease that ends when its connection does."""


@dataclass(frozen=True)
class _JobEnded:
    """A job has nothing more to do, or has met an error, which is the Executor's by now."""


class Executor:
    """Runs a command for messages.

    connect: makes a client; its argument: whether that tells that it lost the server. command: for the shell.
    wanted: how many messages, and how long to wait for them. jobs: so many at a time. retry_seconds: a message whose
    command failed is tried again after so long; None: after 1, 2, 4 ... 60.
    """

    def __init__(
        self,
        connect: Callable[[bool], PatientClient],
        command: str,
        wanted: Wanted,
        *,
        jobs: int,
        retry_seconds: float | None,
    ) -> None:
        self._connect = connect
        self._command = command
        self._wanted = wanted
        self._jobs = int(min(jobs, wanted.count))
        self._retry_seconds = retry_seconds
        self._events: queue.SimpleQueue[signal.Signals | _JobEnded | None] = queue.SimpleQueue()
        """None: a job has settled its message."""
        self._outlet = Outlet()
        self._lock = threading.Lock()
        self._left = wanted.count
        self._stopping = False
        self._failure: BaseException | None = None
        """Why no more are started, if it is not a signal."""
        self._running: set[subprocess.Popen[bytes]] = set()
        self._busy = 0
        """So many jobs have a message that is not settled yet, or ask for one that is there."""
        self._succeeded = self._failed = self._dead = 0
        self._failed_letters: set[str] = set()
        """Dead letters that are not tried again: no last attempt would end that."""
        self._max_attempts = 0
        self._extend_seconds = USUAL_LEASE_SECONDS / EXTENSIONS

    def run(self) -> int:
        """Run until nothing more is wanted, or a signal says so; gives the exit code. Raises GstreamError."""
        clients = [self._connect(number == 0) for number in range(self._jobs)]
        server = clients[0].client.stats()
        self._extend_seconds = float(server.get("lease", USUAL_LEASE_SECONDS)) / EXTENSIONS
        self._max_attempts = int(server.get("max_attempts", 0))
        with self._signals():
            for client in clients:
                # A daemon: see above. Its connection ends with the process.
                threading.Thread(target=self._work, args=(client,), daemon=True).start()
            interrupted = self._wait()
        if self._failed:
            dead = f"; new dead letters: {self._dead:,}" if self._dead else ""
            note(f"{self._failed:,} of {plural(self._succeeded + self._failed, 'command')} failed{dead}")
        if interrupted:
            return EXIT_INTERRUPTED
        if self._failed:
            return EXIT_FAILED
        return 0 if self._succeeded else EXIT_NOTHING

    def _wait(self) -> bool:
        """The main thread's part; gives whether it was interrupted (SIGINT). Raises what a job has ended by."""
        working = self._jobs
        signals: list[signal.Signals] = []
        while working:
            try:
                event = self._events.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(event, _JobEnded):
                working -= 1
            elif event is not None:
                signals.append(event)
            with self._lock:
                self._stopping = bool(signals or self._failure)
                if len(signals) > 1:
                    self._kill()
                busy = self._busy
                running = len(self._running)
            if self._stopping and not busy:
                break
            if isinstance(event, signal.Signals) and len(signals) == 1 and running:
                note(f"waits for {plural(running, 'running command')}; a second signal kills them")
        if self._failure is not None:
            raise self._failure
        return signal.SIGINT in signals

    def _work(self, client: PatientClient) -> None:
        """A job's part."""
        kept: list[Lease] = []
        try:
            with client:
                while self._take_turn() and self._take_one(client, kept):
                    pass
                for lease in kept:
                    with suppress(ClientError):  # they go back anyway
                        lease.release(*lease.messages)
        except BaseException as error:  # noqa: BLE001  # raised in the main thread
            self._fail(error)
        self._events.put(_JobEnded())

    def _take_one(self, client: PatientClient, kept: list[Lease]) -> bool:
        """Lease a message and see to it; False if there is none."""
        wait_seconds = self._wanted.wait_seconds()
        if wait_seconds == 0:
            with self._at_work():  # so that what is just on its way is released, too
                lease = client.lease(1, wait_seconds=0.0)
                if lease:
                    self._execute(client, lease, lease.messages[0], kept)
        else:
            lease = client.lease(1, wait_seconds=wait_seconds)
            if lease:
                with self._at_work():
                    self._execute(client, lease, lease.messages[0], kept)
        return bool(lease)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
            self._events.put(None)

    def _take_turn(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0 and not self._stopping

    def _fail(self, error: BaseException) -> None:
        """Start no more, and raise this in the end."""
        with self._lock:
            self._failure = self._failure or error
            self._stopping = True

    def _execute(self, client: PatientClient, lease: Lease, message: Message, kept: list[Lease]) -> None:
        if message.id in self._failed_letters:
            with self._lock:
                self._left += 1
            with suppress(ClientError):  # it comes again
                lease.extend(message, UNTIL_THE_END_SECONDS)
            kept.append(lease)
            return
        collected = Collected() if self._jobs > 1 else None
        try:
            process = self._start(client, message, collected)
            if process is None:
                _release(lease, message)
                return
            code = self._run(process, lease, message, collected)
            if code in CANNOT_RUN:
                _release(lease, message)
                how = f"cannot be run (exit code {code}); nothing was lost"
                self._fail(CommandError(f"--exec: {self._command!r} {how}"))
            if collected is not None:
                collected.print(self._outlet, self._extend_seconds, lambda: _extend(lease, message))
            if code not in CANNOT_RUN:
                self._settle(client, lease, message, code)
        except CommandError:
            _release(lease, message)
            raise
        finally:
            if collected is not None:
                collected.close()

    def _start(
        self, client: PatientClient, message: Message, collected: Collected | None
    ) -> subprocess.Popen[bytes] | None:
        """Start the command; None if no more are to be started. Raises CommandError."""
        variables = {
            "GSTREAM_ID": message.id.encode(),
            "GSTREAM_ATTEMPT": b"%d" % message.attempt,
            "GSTREAM_MESSAGE_TOPIC": client.client.topic.encode(),
            "GSTREAM_MESSAGE_GROUP": client.client.group.encode(),
        }
        if message.key is not None and b"\0" not in message.key:  # no variable holds one
            variables["GSTREAM_KEY"] = message.key
        environment = {name: value for name, value in os.environ.items() if name != "GSTREAM_KEY"}
        output, errors = collected.descriptors if collected is not None else (None, None)
        try:
            with self._lock:
                if self._stopping:
                    return None
                process = subprocess.Popen(  # noqa: S602  # the shell is what --exec promises
                    self._command,
                    shell=True,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=errors,
                    env={**environment, **{name: os.fsdecode(value) for name, value in variables.items()}},
                    process_group=0,  # a Ctrl-C is for this process, which lets the command finish
                )
                self._running.add(process)
        except OSError as error:
            raise CommandError(f"cannot run the command: {error.strerror}") from None
        finally:
            if collected is not None:
                collected.started()
        return process

    def _run(
        self, process: subprocess.Popen[bytes], lease: Lease, message: Message, collected: Collected | None
    ) -> int:
        """Wait for the command, and keep its message leased; gives its exit code."""
        data: bytes | None = message.body
        while True:
            try:
                process.communicate(data, timeout=self._extend_seconds)
            except subprocess.TimeoutExpired:
                data = None
                _extend(lease, message)
            else:
                break
        if collected is not None:
            collected.wait(self._extend_seconds, lambda: _extend(lease, message))
        with self._lock:
            self._running.discard(process)
        return process.returncode

    def _settle(self, client: PatientClient, lease: Lease, message: Message, code: int) -> None:
        about = f"message {message.id}, attempt {message.attempt}"
        try:
            if code:
                with self._lock:
                    self._failed += 1
                how = f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"
                note(f"{about}: {how}, {self._give_back(client.client.topic, lease, message)}")
            else:
                lease.acknowledge(message)
                with self._lock:
                    self._succeeded += 1
        except ClientError as error:
            with self._lock:
                self._failed += not code
            how = "the command failed" if code else "the command succeeded, but is perhaps run again"
            note(f"{about}: {how}: {error}")

    def _give_back(self, topic: str, lease: Lease, message: Message) -> str:
        """Give a message back whose command failed; tells what has become of it."""
        is_letter = topic.endswith(DEAD_LETTERS)
        if is_letter and self._wanted.each:
            with self._lock:
                self._failed_letters.add(message.id)
        lease.give_back(message, self._retry_seconds_after(message.attempt))
        if is_letter or not 0 < self._max_attempts <= message.attempt:
            return "given back"
        with self._lock:
            self._dead += 1
        return f"now a dead letter in {topic}{DEAD_LETTERS}"

    def _retry_seconds_after(self, attempt: int) -> float:
        if self._retry_seconds is not None:
            return self._retry_seconds
        return min(LONGEST_RETRY_SECONDS, math.ldexp(1.0, min(attempt - 1, LARGEST_EXPONENT)))

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


def _extend(lease: Lease, message: Message) -> None:
    with suppress(ClientError):  # the acknowledgement will tell
        lease.extend(message)


def _release(lease: Lease, message: Message) -> None:
    with suppress(ClientError):  # it goes back anyway
        lease.release(message)
