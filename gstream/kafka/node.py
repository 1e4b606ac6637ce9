"""The node: the one broker of the cluster that Kafka's clients see, as the handlers of their requests see it.

Knows no socket and no bytes.
"""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING

from gevent.event import Event

from gstream.broker import Broker
from gstream.config import Config
from gstream.kafka.api import Context
from gstream.kafka.faults import Faults
from gstream.kafka.groups import Groups
from gstream.kafka.producer_ids import ProducerIds
from gstream.kafka.transactions import Transactions

if TYPE_CHECKING:
    from gstream.commit import Commit
    from gstream.storage.facts import Facts
    from gstream.topic import AnyEngine, Topic

__all__ = ["Node"]

NODE_ID = 1
"""Kafka's own ids begin with 0 or 1; there is one node, and it is its own controller and coordinator."""

CLUSTER_FACT = "cluster"

MANY_NAMES = 1000
"""More names of removed topics are not kept, about."""


class Node:
    """What the handlers share.

    broker: whose topics are served. config: the server's.
    facts: where something is kept; by default the engine's.
    """

    node_id = NODE_ID
    controller_id = NODE_ID

    def __init__(self, broker: Broker, config: Config, facts: Facts | None = None) -> None:
        self.broker = broker
        self.engine: AnyEngine = broker.engine
        self.agenda = broker.agenda
        self.config = config
        self.facts = broker.engine.facts if facts is None else facts
        self.stopping = Event()
        """Set when the server stops: whoever waits answers."""
        self.cluster_id = self._find_cluster_id()
        """22 characters, for ever the same of a data directory."""
        self._names = self._find_names()
        """Of topics, by their ids; of some that have been removed since, too."""
        self.ids_commit: Commit | None = None
        """When the ids of all topics are kept; None: nothing is kept."""
        self.fetched_bytes = 0
        """Of records that were read for clients, and are not on their way to them."""
        self.faults = Faults()
        self.producer_ids = ProducerIds(self.facts)
        self.groups = Groups(self)
        self.transactions = Transactions(broker, self.groups, self.facts, self.producer_ids)

    @property
    def partitions(self) -> int:
        """How many a topic gets that a Kafka client makes without saying how many."""
        return self.config.kafka_partitions or self.config.partitions

    def advertised(self, context: Context) -> tuple[str, int]:
        """The host and port that this client is told to connect to: the address that it has found, unless one is set.

        What it has connected to it can reach; of the address that is listened on, 0.0.0.0 perhaps, nobody knows.
        """
        if self.config.kafka_advertise is not None:
            host, _, port = self.config.kafka_advertise.rpartition(":")
            return host.strip("[]"), int(port)
        return context.peer.local_host, context.peer.local_port

    def topic_id(self, topic: Topic) -> uuid.UUID:
        """The id of a topic, which no other topic will ever have, not even one of the same name (KIP-516).

        It should not be told before it is kept, see ``ids_commit``: after a crash the topic would have another one.
        """
        fact = _id_fact(topic.name)
        kept = self.facts.get(fact)
        if kept is None:
            kept = uuid.uuid4().bytes
            self.facts.put(fact, kept)
            self.ids_commit = self.facts.commit()
        if len(self._names) >= MANY_NAMES + 2 * len(self.broker.topics):
            self._names = self._find_names()
        self._names[kept] = topic.name
        return uuid.UUID(bytes=kept)

    def find_by_id(self, id: uuid.UUID) -> Topic | None:
        """The topic of that id; None: there is none."""
        name = self._names.get(id.bytes)
        if name is None or self.facts.get(_id_fact(name)) != id.bytes:
            return None
        return self.broker.topics.get(name)

    def _find_names(self) -> dict[bytes, str]:
        return {id: name for name in self.broker.topics if (id := self.facts.get(_id_fact(name))) is not None}

    def _find_cluster_id(self) -> str:
        kept = self.facts.get(CLUSTER_FACT)
        while kept is None or kept.startswith(b"-"):  # tools would take that for an option
            kept = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=")
            self.facts.put(CLUSTER_FACT, kept)
        return kept.decode()


def _id_fact(name: str) -> str:
    """Where the id of a topic of that name is kept."""
    return f"topic/{name}/id"
