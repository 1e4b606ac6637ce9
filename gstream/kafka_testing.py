"""A topic of a Kafka server, as tests see it: put records in, look at what was produced, order faults.

    def test_orders_are_announced(gstream_kafka):
        shop.sell("tea", bootstrap_servers=gstream_kafka.bootstrap_servers, topic=gstream_kafka.topic)
        assert gstream_kafka.values() == [b"tea"]

No client is needed for that: it looks into the server's own logs, in the server's thread. Everything here blocks, and
every wait ends after TIMEOUT_SECONDS with an AssertionError that says what was awaited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from gstream.header import unpack_header
from gstream.kafka.codes import Code
from gstream.kafka.faults import Fault
from gstream.kafka.node import Node
from gstream.kafka.table import TABLE
from gstream.kafka.topics import find, find_or_make
from gstream.record import CONTROL, Record, decode_records
from gstream.records import encode_batch
from gstream.storage.memory import MemoryLog

if TYPE_CHECKING:
    from gstream.service import Service

__all__ = ["KafkaTopic", "Produced"]

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 30.0
"""Far longer than anything takes."""
POLL_SECONDS: Final = 0.002
_ALL_BYTES: Final = 1 << 40


class Produced(Record):
    """A record as it lies in a topic.

    offset: in its partition. time_ms: milliseconds since 1970. key, value: bytes, or None. headers: names and values.
    """

    __slots__ = ()


class Server(Protocol):
    """A server of which a function can be called in its own thread: gstream.testing.ServerThread, for one."""

    def call(self, function: Callable[[Service], T]) -> T:
        """What ``function(service)`` returns, or raises."""


class KafkaTopic:
    """A topic, and the server that it is on.

    server: with ``kafka=True`` and messages in memory, as ``gstream.testing.ServerThread(kafka=True)``.
    """

    def __init__(self, server: Server, bootstrap_servers: str, topic: str) -> None:
        self._server = server
        self.bootstrap_servers = bootstrap_servers
        """What Kafka's clients are told to connect to: ``host:port``."""
        self.topic = topic

    def __repr__(self) -> str:
        return f"<KafkaTopic {self.topic} at {self.bootstrap_servers}>"

    def _ask(self, question: Callable[[Node], T]) -> T:
        def ask(service: Service) -> T:
            assert service.kafka is not None, "the server was started without kafka=True"
            assert service.kafka.node is not None
            return question(service.kafka.node)

        return self._server.call(ask)

    # --- records

    def put(
        self,
        *values: bytes | None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int = 0,
        time_ms: int | None = None,
        topic: str | None = None,
    ) -> list[int]:
        """Store records, one for each value, as one batch; their offsets. The topic is made if there is none.

        time_ms: when they were produced, in milliseconds since 1970; None: now. topic: another one than this.
        Raises gstream.errors.FullError.
        """
        assert values, "at least one value"
        when = time.time_ns() // 1_000_000 if time_ms is None else time_ms
        records = [Record(at, when, key, value, tuple(headers)) for at, value in enumerate(values)]
        batch = encode_batch(records)

        def store(node: Node) -> int:
            header = unpack_header(batch)
            assert header is not None
            return find_or_make(node, topic or self.topic).append_records(partition, batch, header).offset

        first = self._ask(store)
        return list(range(first, first + len(values)))

    def records(self, partition: int | None = None, topic: str | None = None) -> list[Produced]:
        """All records that are there: of all partitions, one after the other, or of this one. No marker is one."""

        def read(node: Node) -> list[bytes]:
            found = find(node, topic or self.topic)
            if found is None:
                return []
            logs = found.partitions if partition is None else [found.partitions[partition]]
            chunks: list[bytes] = []
            for log in logs:
                assert isinstance(log, MemoryLog), "records are looked at where they are in memory"
                chunks += [bytes(each) for each in log.read_records(log.oldest_offset, _ALL_BYTES).chunks]
            return chunks

        return [Produced(*record) for chunk in self._ask(read) for record in _records_of(chunk)]

    def values(self, partition: int | None = None, topic: str | None = None) -> list[bytes | None]:
        """The values of all records that are there."""
        return [record.value for record in self.records(partition, topic)]

    def wait_for(self, count: int, topic: str | None = None) -> list[Produced]:
        """All records, as soon as there are so many; raises AssertionError if they do not come."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while len(found := self.records(topic=topic)) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {TIMEOUT_SECONDS:g} s for {count} records, {len(found)} are there")
            time.sleep(POLL_SECONDS)
        return found

    # --- faults

    def fail(self, api: str, error: str, times: int = 1) -> None:
        """The next requests of this API, so many, are answered with this error: ``fail("Produce", "NOT_CONTROLLER")``.

        api, error: Kafka's names. Raises ValueError for others.
        """
        if error not in Code.__members__:
            raise ValueError(f"there is no error {error!r}; there are {', '.join(Code.__members__)}")
        self._order(api, Fault(Code[error]), times)

    def delay(self, api: str, seconds: float, times: int = 1) -> None:
        """The next requests of this API, so many, wait so long before they are executed."""
        self._order(api, Fault(delay_seconds=seconds), times)

    def drop(self, api: str, times: int = 1) -> None:
        """The next requests of this API, so many, are not executed: their connection is closed."""
        self._order(api, Fault(drops=True), times)

    def clear_faults(self) -> None:
        """What was ordered and has not happened yet does not happen."""
        self._ask(lambda node: node.faults.clear())

    @property
    def faults_left(self) -> int:
        """How many of the faults that were ordered have not happened yet."""
        return self._ask(lambda node: len(node.faults))

    def _order(self, api: str, fault: Fault, times: int) -> None:
        key = next((row.key for row in TABLE.values() if row.name == api), None)
        if key is None:
            raise ValueError(f"there is no API {api!r}; there are {', '.join(row.name for row in TABLE.values())}")
        self._ask(lambda node: node.faults.order(key, fault, times))

    def remove(self) -> None:
        """Remove the topic, with all that is in it; harmless when there is none."""

        def remove(node: Node) -> Any:
            return node.broker.remove(self.topic) if find(node, self.topic) is not None else None

        self._ask(remove)


def _records_of(chunk: bytes) -> list[Record]:
    """The records of the batches in these bytes."""
    found: list[Record] = []
    position = 0
    while position < len(chunk):
        header = unpack_header(chunk, position)
        assert header is not None
        if not header.attributes & CONTROL:
            found += decode_records(chunk, position)
        position += header.size
    return found
