"""Workers that are killed at random while messages pass: each message is done, and few are done twice."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter

import pytest

from gstream.testing import ServerThread, Session, wait_until

MESSAGES = 100_000
PRODUCERS = 4
WORKERS = 6
KILLS = 40
CREDIT = 200

WORKER = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sock.sendall(b"r600 100\\n")
rest, ids = b"", []
while data := sock.recv(65536):
    *lines, rest = (rest + data).split(b"\\n")
    for line in lines:
        if line.startswith(b"="):
            ids.append(line.split(b" ")[1])
            print(line.split(b" ")[3].decode(), flush=False)
        elif line == b".":
            sys.stdout.flush()  # done: it is in the pipe, whatever comes now
            sock.sendall(b"a" + b" ".join(ids) + b"\\nr600 100\\n")
            ids = []
"""


class Worker(threading.Thread):
    """Streams with a credit and acknowledges what it has done, until it is reset.

    done: bodies, in order. open: at the end, how many leases it had that it had not acknowledged.
    """

    def __init__(self, server: ServerThread, kill_after: int | None) -> None:
        super().__init__(name="worker")
        self.session = Session(server)
        self.kill_after = kill_after
        self.done: list[bytes] = []
        self.attempts: list[int] = []
        self.open = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001  # raised in the test's own thread
            self.failure = error
        finally:
            self.session.close()

    def work(self) -> None:
        sock = self.session.socket
        self.session.send(b"s%d\n" % CREDIT)
        pending = b""
        ids: list[bytes] = []
        answers: list[int] = []  # what was acknowledged and not confirmed yet
        while data := sock.recv(1 << 16):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                if line.startswith(b"= "):
                    _, id, attempt, body = line.split(b" ", 3)
                    ids.append(id)
                    self.attempts.append(int(attempt))
                    self.done.append(body)
                elif line.startswith(b"+ "):
                    assert int(line[2:]) == answers.pop(0)
                else:
                    return  # the stream was ended
            if self.kill_after is not None and len(self.done) >= self.kill_after:
                self.open = CREDIT + sum(answers)  # what is not confirmed may have been given back
                self.session.reset()
                return
            if ids:
                answers.append(len(ids))
                self.session.send(b"a" + b" ".join(ids) + b"\n")
                ids = []


def produce(server: ServerThread, number: int, count: int) -> None:
    with Session(server) as session:
        for start in range(0, count, 500):
            session.send(b"".join(b"p%d:%d\n" % (number, each) for each in range(start, start + 500)))
            session.expect(b"ok\r\n" * 500)


def is_everything_done(server: ServerThread) -> bool:
    return server.call(lambda service: service.broker.topic().group().lag) == 0


def count_late(done: list[bytes]) -> int:
    """How many messages came after a later one of the same producer."""
    latest: dict[bytes, int] = {}
    late = 0
    for body in done:
        producer, _, text = body.partition(b":")
        number = int(text)
        late += number < latest.get(producer, -1)
        latest[producer] = max(number, latest.get(producer, -1))
    return late


@pytest.mark.parametrize("kill_count", [0, KILLS])
def test_100000_messages_pass_workers_that_are_reset_at_random(kill_count: int) -> None:
    kills = random.Random(7)

    def kill_after(number: int) -> int | None:
        return kills.randrange(1, 3000) if number < kill_count else None

    with ServerThread(max_attempts=0) as server:
        producers = [
            threading.Thread(target=produce, args=(server, number, MESSAGES // PRODUCERS))
            for number in range(PRODUCERS)
        ]
        workers = [Worker(server, kill_after(number)) for number in range(WORKERS)]
        everyone = list(workers)
        for thread in (*producers, *workers):
            thread.start()
        while any(worker.is_alive() for worker in workers):
            for at, worker in enumerate(workers):
                worker.join(0.005)
                if not worker.is_alive() and (worker.kill_after is not None or worker.failure):
                    assert worker.failure is None, worker.failure
                    workers[at] = Worker(server, kill_after(len(everyone)))
                    everyone.append(workers[at])
                    workers[at].start()
            if not any(producer.is_alive() for producer in producers) and is_everything_done(server):
                for worker in workers:
                    if worker.kill_after is None:
                        worker.session.send(b"s0\n")
                    else:
                        worker.session.reset()
                break
        for thread in (*producers, *everyone):
            thread.join()
        done = Counter(body for worker in everyone for body in worker.done)
        expected = {b"%d:%d" % (p, n) for p in range(PRODUCERS) for n in range(MESSAGES // PRODUCERS)}
        assert done.keys() == expected, "each is done, and nothing else"
        killed = [worker for worker in everyone if worker.open]
        assert len(killed) >= kill_count - WORKERS
        assert done.total() - MESSAGES <= sum(worker.open for worker in killed)
        returned = server.call(lambda service: service.broker.topic().group().returned_count)
        assert bool(returned) == bool(kill_count)
        assert sum(count_late(worker.done) for worker in everyone) <= returned, "what was not given back is in order"
        assert all(attempt == 1 for worker in everyone for attempt in worker.attempts) or kill_count
        wait_until(lambda: server.call(lambda service: service.connection_count) == 0, "all are gone")
        held = server.call(lambda service: (service.engine.held_bytes, service.engine.used_bytes))
        assert held == (0, 0)


def test_processes_that_are_killed_lose_nothing() -> None:
    count = 20_000
    with ServerThread(max_attempts=0) as server:
        produce(server, 0, count)

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", WORKER, str(server.port)], stdout=subprocess.PIPE)

        def acknowledged() -> int:
            return server.call(lambda service: service.broker.topic().group().acknowledged_count)

        done: Counter[bytes] = Counter()
        for kill in range(1, 7):
            workers = [start(), start()]
            readers = [
                threading.Thread(target=done.update, args=(iter(w.stdout.readline, b""),)) for w in workers if w.stdout
            ]
            for reader in readers:
                reader.start()
            goal = count * kill // 6
            wait_until(lambda goal=goal: acknowledged() >= goal, "the workers have come so far")  # type: ignore[misc]
            for worker in workers:
                worker.kill()
            for worker, reader in zip(workers, readers, strict=True):
                worker.wait()
                reader.join()
                assert worker.stdout is not None
                worker.stdout.close()
        assert is_everything_done(server)
        assert {body.strip() for body in done} == {b"0:%d" % number for number in range(count)}
        assert done.total() - count <= 6 * 2 * 100
        wait_until(lambda: server.call(lambda service: service.engine.held_bytes) == 0, "nothing is held")
