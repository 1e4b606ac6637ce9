"""What an API is: its versions, and what answers its requests.

A handler sees a typed request and the node, never bytes or a socket. It may block its greenlet, which is that of the
client's connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from gstream.commit import Commit

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["Answer", "Api", "Buffer", "Call", "Client", "Encoded", "Later"]

Buffer: TypeAlias = bytes | bytearray | memoryview


@dataclass(slots=True)
class Client:
    """What is known of a connected client.

    address: where it comes from, for logs. host, port: the address of ours that it came in on.
    software: name and version, as it told them (KIP-511).
    """

    address: str = ""
    host: str = ""
    port: int = 0
    software: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    request: a message of ``kafka.protocol``. client_id: as the request's header says.
    """

    node: Node
    client: Client
    version: int
    request: Any
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A reply's body that was encoded by hand: buffers, sent one behind the other."""

    buffers: list[Buffer]


@dataclass(frozen=True, slots=True)
class Later:
    """A reply that is made when something is stored, or could not be.

    make: called in the hub then; must not block. Meanwhile the connection's next requests are read and handled.
    """

    commit: Commit
    make: Callable[[], Any]


Answer: TypeAlias = Any
"""A response of ``kafka.protocol``; Encoded; Later; None: there is no reply."""


@dataclass(frozen=True, slots=True)
class Api:
    """One API.

    key, name: as Kafka numbers and names it. least, most: the versions that are served, and advertised.
    request: the message of ``kafka.protocol`` that decodes it. handle: answers a call; raises KafkaError only where
    ``refuse(call, code)`` makes a reply of it.
    advertised_least: what is advertised as the least version, where clients want to see another one.
    """

    key: int
    name: str
    least: int
    most: int
    request: Any
    handle: Callable[[Call], Answer]
    refuse: Callable[[Call, int], Answer] | None = None
    advertised_least: int | None = None
