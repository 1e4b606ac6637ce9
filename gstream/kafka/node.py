"""The node: what all clients of the Kafka listener share.

A cluster of one broker, which is its own controller and everybody's coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gstream.broker import Broker
from gstream.facts import Facts

if TYPE_CHECKING:
    from gstream.kafka.api import Client

__all__ = ["NODE_ID", "KafkaSettings", "Node"]

NODE_ID = 1


@dataclass(frozen=True)
class KafkaSettings:
    """How the listener behaves.

    advertise: host and port that clients are told; None: where they came in. auto_create: whether a topic is made when
    somebody asks for it. max_request_bytes: of one request. Times are in seconds.
    """

    advertise: tuple[str, int] | None = None
    auto_create: bool = True
    max_request_bytes: int = 100 << 20
    group_initial_delay_seconds: float = 0.0


class Node:
    """One broker of Kafka's kind, over gstream's."""

    def __init__(self, broker: Broker, facts: Facts, settings: KafkaSettings, cluster_id: str) -> None:
        self.broker = broker
        self.facts = facts
        self.settings = settings
        self.cluster_id = cluster_id
        self.agenda = broker.agenda

    def address(self, client: Client) -> tuple[str, int]:
        """Where this client, and whoever it tells, can reach us."""
        return self.settings.advertise or (client.host, client.port)
