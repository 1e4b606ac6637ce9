"""Many producers and competing consumers at once, and what must hold afterwards; for tests.

traffic = Traffic(server, producers=16, consumers=16, messages=32_000)
traffic.run()
traffic.check()
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

from gstream.testing import Endpoint, Session

__all__ = ["Traffic"]


class Traffic:
    """Producers that publish numbered messages in bursts, and consumers that take them until all are taken.

    server: where. messages: of all producers together.
    waiting: consumers wait for messages (``w``) instead of asking for them again and again (``c``).
    seed: of the sizes of the bursts.

    A message's body is ``producer:number``.
    """

    def __init__(
        self,
        server: Endpoint | str,
        *,
        producers: int = 16,
        consumers: int = 16,
        messages: int = 32_000,
        waiting: bool = False,
        seed: int = 1,
    ) -> None:
        self.published = messages // producers * producers
        self.producers = producers
        self.consumed: list[list[bytes]] = [[] for _ in range(consumers)]
        """What each consumer got, in the order in which it did."""
        self._server = server
        self._seed = seed
        self._waiting = waiting
        self._missing = self.published
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []

    def run(self) -> None:
        """Run all of them at once, each in a thread, until every message is taken; raises the first failure."""
        everybody = threading.Barrier(self.producers + len(self.consumed))
        threads = [
            *(self._thread(everybody, self._produce, number) for number in range(self.producers)),
            *(self._thread(everybody, self._consume, number) for number in range(len(self.consumed))),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def check(self, *, least_share: float = 0.1) -> None:
        """Every message exactly once, each producer's order kept for each consumer, and no consumer starved.

        least_share: of an even share, what each consumer must have got. Raises AssertionError.
        """
        count = self.published // self.producers
        expected = {b"%d:%d" % (producer, number) for producer in range(self.producers) for number in range(count)}
        got = Counter(body for bodies in self.consumed for body in bodies)
        lost, unknown = expected - got.keys(), got.keys() - expected
        twice = [body for body, times in got.items() if times > 1]
        wrong = bool(lost or unknown or twice)
        assert not wrong, f"lost {len(lost)}, unknown {len(unknown)}, more than once {len(twice)}"
        for consumer, bodies in enumerate(self.consumed):
            last: dict[bytes, int] = {}
            for body in bodies:
                producer, _, number = body.partition(b":")
                assert int(number) > last.get(producer, -1), f"consumer {consumer} got {body!r} after {last[producer]}"
                last[producer] = int(number)
        least = least_share * self.published / len(self.consumed)
        shares = [len(bodies) for bodies in self.consumed]
        assert min(shares) >= least, f"a consumer was starved: {shares}"

    def _thread(
        self, everybody: threading.Barrier, work: Callable[[Session, int], None], number: int
    ) -> threading.Thread:
        def run() -> None:
            try:
                with Session(self._server) as session:
                    everybody.wait()
                    work(session, number)
            except BaseException as error:  # noqa: BLE001  # raised by run()
                self._failures.append(error)
                everybody.abort()
                with self._lock:
                    self._missing = 0  # nobody waits for what will not come

        return threading.Thread(target=run)

    def _produce(self, session: Session, producer: int) -> None:
        sizes = random.Random(self._seed * 1000 + producer)  # noqa: S311  # no secret
        count = self.published // self.producers
        number = 0
        while number < count:
            burst = min(sizes.choice((1, 2, 10, 100)), count - number)
            session.send(b"".join(b"p%d:%d\n" % (producer, number + at) for at in range(burst)))
            session.expect(b"ok\r\n" * burst)
            number += burst

    def _consume(self, session: Session, consumer: int) -> None:
        sizes = random.Random(self._seed * 2000 + consumer)  # noqa: S311  # no secret
        bodies = self.consumed[consumer]
        while self._missing > 0:
            count = sizes.choice((1, 2, 5, 10))
            got = self._wait(session, count) if self._waiting else self._poll(session, count)
            bodies += got
            with self._lock:
                self._missing -= len(got)

    def _poll(self, session: Session, count: int) -> list[bytes]:
        session.send(b"c\n" * count + b"zdone\n")
        lines = iter(session.read_line, b"+ done\n")
        return [line.removesuffix(b"\n") for line in lines]

    def _wait(self, session: Session, count: int) -> list[bytes]:
        session.send(b"w0.2 %d\n" % count)
        lines = iter(session.read_line, b".\n")
        return [line.removesuffix(b"\n").split(b" ", 3)[3] for line in lines]
