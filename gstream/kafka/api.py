"""What an API is, and what its handler gets and gives. Each API is a module of its own that makes one Api.

A handler is called as ``handle(node, request, context)``. It may block its greenlet, which is the connection's; what
it returns is the reply:

- an object of the API's response class, which the codec encodes in the request's version,
- a list of buffers: the body as it is to be sent, encoded by hand,
- a Deferred: the same, as soon as something is stored; until then the connection goes on reading,
- None: nothing is answered.

Knows no socket and no bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from gstream.commit import Commit

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["ORDINARY_BYTES", "Api", "Body", "Buffer", "Context", "Deferred", "Handler", "Peer", "Reply"]

ORDINARY_BYTES = 1 << 20
"""So large are requests at the most that carry no messages: decoding one may make an object of every byte."""

Buffer: TypeAlias = bytes | bytearray | memoryview
Body: TypeAlias = Any
"""An object of a response class, or a list of buffers, or None."""


@dataclass(slots=True)
class Peer:
    """The client at the other end of a connection, and the address of ours that it has connected to.

    software_name, software_version: as it has introduced itself, see KIP-511; "" until then.
    is_gone: asks the kernel whether it has gone away, for handlers that wait long; costs a system call.
    """

    host: str = "127.0.0.1"
    port: int = 0
    local_host: str = "127.0.0.1"
    local_port: int = 9092
    software_name: str = ""
    software_version: str = ""
    is_gone: Callable[[], bool] = field(default=lambda: False, repr=False)


class Context:
    """Whose request it is, and in which version it came and is answered."""

    __slots__ = ("client_id", "correlation_id", "peer", "version")

    def __init__(self, version: int, client_id: str | None = None, correlation_id: int = 0, peer: Peer | None = None):
        self.version = version
        self.client_id = client_id
        self.correlation_id = correlation_id
        self.peer = peer or Peer()

    def is_gone(self) -> bool:
        """Whether the client has gone away: nobody waits for the reply any more."""
        return self.peer.is_gone()


@dataclass(slots=True)
class Deferred:
    """A reply that waits for something to be stored.

    finish: gives the body of the reply (None: nothing is answered); called in the hub, when the commit is done or has
    failed. It may raise RefusedError, which ends the connection.
    """

    commit: Commit
    finish: Callable[[], Body]


Reply: TypeAlias = "Body | Deferred"
Handler: TypeAlias = "Callable[[Node, Any, Context], Reply]"


@dataclass(frozen=True)
class Api:
    """A row of the table.

    key: the number by which clients ask for it. versions: those that are served, and advertised.
    request, response: classes of kafka.protocol; response may be None where bodies are encoded by hand.
    decode: reads a request by hand, given its bytes behind the header; raises ValueError or struct.error for what is
        no request.
    max_bytes: a larger request is refused before it is read.
    gives_much: whether replies may be so large that too many that nobody reads would be more than there is memory for.
    """

    key: int
    name: str
    versions: range
    handle: Handler
    request: Any
    response: Any = None
    decode: Callable[[memoryview, int], Any] | None = None
    max_bytes: int = ORDINARY_BYTES
    gives_much: bool = False
