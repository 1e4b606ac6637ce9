"""Fetch (1), versions 4 to 17: records of partitions from given offsets on, whole batches as they are stored.

Waits until there are ``min_bytes``, but not longer than ``max_wait_ms``, and not when a partition has an error to be
told. Never makes a topic. At least one batch is given if there is one, however large it is; beyond that the limits of
the request hold for the reply as a whole. Partitions are read in the order of the request, which clients rotate.

Sessions (KIP-227) are not offered: each reply has session 0, and clients then send whole requests. KIP-98 (isolation
levels), KIP-320 (epochs, of which there is one), KIP-392 (there is no other replica to read from). KIP-516: from
version 13 topics have ids in place of names: another topic of the same name is not taken for the one that was meant.
What is new in versions 14 to 17 is for brokers (KIP-405, KIP-903, KIP-853), or for when there are several (KIP-951).
"""

from __future__ import annotations

import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from kafka.protocol.consumer import FetchRequest, FetchResponse

from gstream.kafka.api import Api, Context
from gstream.kafka.codes import Code
from gstream.kafka.fetch_codec import IDS_FROM, SESSIONS_FROM, Buffer, TopicKey, encode
from gstream.kafka.reading import Reader
from gstream.kafka.rows import PAUSE_SECONDS

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["API", "MAX_REPLY_BYTES", "MOST_FETCHED_BYTES"]

MAX_REPLY_BYTES = 8 << 20
"""Of records in a reply, whatever the client would take: it asks again."""

MOST_FETCHED_BYTES = 128 << 20
"""Of records that were read for fetches of all clients, and are not on their way to them. Beyond that each gets one
batch, if it has none, and waits for no more of them."""

GONE_SECONDS = 1.0
"""How often a fetch that waits looks whether its client is still there."""

SHORTEST_WAIT_SECONDS = 0.001
"""libuv knows no shorter one."""

STRETCH_SECONDS = 0.001
"""A fetch of many partitions lets others have their turns after this."""

READ_COMMITTED = 1

NO_ID = uuid.UUID(int=0)


class Fetch:
    """A fetch that reads until it has enough."""

    def __init__(self, node: Node, request: Any, version: int) -> None:
        self._node = node
        self._max_bytes = max(0, min(request.max_bytes, MAX_REPLY_BYTES))
        self._min_bytes = min(request.min_bytes, self._max_bytes)
        self._size = 0
        self._is_failed = False
        self._readers: list[tuple[TopicKey, list[Reader]]] = []
        self._of_topic: dict[Topic, list[Reader]] = {}
        is_committed = request.isolation_level == READ_COMMITTED
        for asked in request.topics:
            key: TopicKey
            topic: Topic | None
            if version >= IDS_FROM:
                key = asked.topic_id or NO_ID  # an id of zeros is decoded as None
                topic, missing = node.find_by_id(key), Code.UNKNOWN_TOPIC_ID
            else:
                key = asked.topic
                topic, missing = node.broker.topics.get(asked.topic), Code.UNKNOWN_TOPIC_OR_PARTITION
            readers = [
                Reader(
                    topic,
                    each.partition,
                    each.fetch_offset,
                    each.partition_max_bytes,
                    each.current_leader_epoch,
                    is_committed=is_committed,
                    missing=missing,
                )
                for each in asked.partitions
            ]
            if topic is not None:
                topic.make_log()
                self._of_topic.setdefault(topic, []).extend(readers)
            self._readers.append((key, readers))

    @property
    def is_enough(self) -> bool:
        """Whether there is no reason to wait."""
        is_crowded = self._size > 0 and self._node.fetched_bytes > MOST_FETCHED_BYTES
        return self._size >= self._min_bytes or self._is_failed or is_crowded

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return not any(readers for _, readers in self._readers)

    def read(self) -> None:
        """Read what there is, as far as there is room. Blocks this greenlet."""
        began = time.perf_counter()
        for _, readers in self._readers:
            for reader in readers:
                self._read(reader)
                self._is_failed = self._is_failed or reader.is_failed
                if time.perf_counter() - began > STRETCH_SECONDS:
                    gevent.sleep(PAUSE_SECONDS)
                    began = time.perf_counter()

    def _read(self, reader: Reader) -> None:
        node = self._node
        room = self._max_bytes - self._size if node.fetched_bytes <= MOST_FETCHED_BYTES else 0
        claimed = max(0, min(room, reader.max_bytes))  # until it is known how much it is
        node.fetched_bytes += claimed
        size = 0
        try:
            size = reader.read(room, is_first=not self._size)
        finally:
            node.fetched_bytes += size - claimed
            self._size += size

    def close(self) -> None:
        """Hold nothing any more: the reply is on its way."""
        self._node.fetched_bytes -= self._size
        self._size = 0

    def wait(self, seconds: float, context: Context) -> bool:
        """Read on as more comes, until it is enough or time is over; whether the client is still there for it."""
        arrived = Event()
        arrived.set()  # for what has come since it was read
        stopping, clock = self._node.stopping, self._node.agenda.clock
        until = clock() + seconds
        watchers = {topic: partial(_wake, arrived, readers) for topic, readers in self._of_topic.items()}
        for topic, watcher in watchers.items():
            topic.watchers[watcher] = None

        def stop(_: object) -> None:
            arrived.set()

        stopping.rawlink(stop)
        try:
            while not stopping.is_set() and (left := until - clock()) > 0:
                if arrived.wait(min(max(left, SHORTEST_WAIT_SECONDS), GONE_SECONDS)):
                    arrived.clear()
                    self.read()
                    if self.is_enough:
                        break
                elif context.is_gone():
                    return False
        finally:
            stopping.unlink(stop)
            for topic, watcher in watchers.items():
                topic.watchers.pop(watcher, None)
        return True

    def encode(self, version: int) -> list[Buffer]:
        """The reply."""
        return encode([(key, [each.finish() for each in readers]) for key, readers in self._readers], version)


def _wake(arrived: Event, readers: list[Reader]) -> None:
    """Something has happened to a topic: wake who waits for these partitions of it, if it was to one of them."""
    for reader in readers:
        if reader.is_due:
            arrived.set()
            return


def handle(node: Node, request: Any, context: Context) -> list[Buffer] | None:
    """Give what there is, or wait for it. None: nobody waits for it any more."""
    if context.version >= SESSIONS_FROM and request.session_id != 0:
        return encode([], context.version, Code.FETCH_SESSION_ID_NOT_FOUND)
    fetch = Fetch(node, request, context.version)
    seconds = request.max_wait_ms / 1000
    try:
        fetch.read()
        if fetch.is_enough or fetch.is_empty or seconds <= 0 or fetch.wait(seconds, context):
            return fetch.encode(context.version)
        return None
    finally:
        fetch.close()


API = Api(
    key=1,
    name="Fetch",
    versions=range(4, 18),
    handle=handle,
    request=FetchRequest,
    response=FetchResponse,
    gives_much=True,
)
