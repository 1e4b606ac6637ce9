"""Dispatch: the bytes of a request to its handler, and what that returns to the bytes of a reply.

What is no request, and what is not served, is refused, which ends the connection; the one exception is ApiVersions in
too new a version, which is how clients find out (KIP-511). Knows no socket.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import gevent

from gstream.commit import Commit
from gstream.kafka import api_versions
from gstream.kafka.api import ORDINARY_BYTES, Api, Body, Buffer, Context, Deferred, Peer
from gstream.kafka.codec import START, Served, encode_frame, read_header, serve
from gstream.kafka.failing import failed
from gstream.kafka.faults import Fault
from gstream.kafka.node import Node
from gstream.kafka.receiving import RefusedError
from gstream.kafka.room import Room
from gstream.storage.threads import Threads

__all__ = ["Answer", "Dispatcher", "Later"]

QUICK_BYTES = 64 * 1024
"""A request that is larger, and that the library decodes, is decoded in a thread: that may take a second."""

UNREAD_BYTES = 256 << 20
"""With more than that of large replies unread, no further ones are made."""


@dataclass(slots=True)
class Later:
    """A reply that waits for something to be stored: ``finish()`` gives its buffers when the commit is done."""

    commit: Commit
    finish: partial[list[Buffer]]


Answer: TypeAlias = "list[Buffer] | Later | None"


class Dispatcher:
    """Gives requests to the handlers of these APIs."""

    def __init__(self, node: Node, apis: Iterable[Api]) -> None:
        self.node = node
        self._faults = node.faults
        self._threads: Threads | None = None
        self.unread = Room(UNREAD_BYTES)
        """For large replies that their clients have not read yet."""
        self._apis = {api.key: api for api in apis}
        self._served = serve(self._apis.values())
        self._limits = {api.key: api.max_bytes for api in self._apis.values()}

    def limit_of(self, key: int) -> int:
        """How large a request to this API may be, in bytes."""
        return self._limits.get(key, ORDINARY_BYTES)

    def answer(self, frame: memoryview, peer: Peer) -> Answer:
        """What to answer to this request; None: nothing. Blocks this greenlet as long as the handler does.

        Raises RefusedError.
        """
        start, correlation_id = START.unpack_from(frame)
        served = self._served.get(start)
        if served is None:
            return self._answer_unserved(start >> 16, start & 0xFFFF, correlation_id)
        try:
            client_id, position = read_header(frame, is_flexible=served.is_flexible)
            body = frame[position:]
            request: Any = served.decode(body) if self._is_quick(served, body) else self._decode_apart(served, body)
        except Exception as error:  # noqa: BLE001  # whatever the decoder stumbles over, it is no request
            what = f"{served.api.name} (version {served.version})"
            raise RefusedError(f"a request that cannot be read, to {what}: {error!r:.200}") from None
        if served.api.gives_much:
            self.unread.wait()
        if self._faults:
            fault = self._faults.take(served.api.key)
            if fault is not None and (reply := _suffer(fault, served, body)) is not None:
                return served.encode(correlation_id, reply)
        reply = served.api.handle(self.node, request, Context(served.version, client_id, correlation_id, peer))
        if reply is None:
            return None
        if isinstance(reply, Deferred):
            return Later(reply.commit, partial(_finish, served, correlation_id, reply))
        return served.encode(correlation_id, reply)

    @staticmethod
    def _is_quick(served: Served, body: memoryview) -> bool:
        return len(body) <= QUICK_BYTES or served.api.decode is not None

    def _decode_apart(self, served: Served, body: memoryview) -> Any:
        """Decode in a thread, and let others go on meanwhile."""
        if self._threads is None:
            self._threads = Threads(1)
        return self._threads.apply(served.decode, body)

    def close(self) -> None:
        """End what was begun for all requests. Blocks this greenlet."""
        if self._threads is not None:
            self._threads.close()
            self._threads = None

    def _answer_unserved(self, key: int, version: int, correlation_id: int) -> list[Buffer]:
        if key == api_versions.KEY:
            return encode_frame(correlation_id, [api_versions.UNSUPPORTED], is_flexible=False)
        api = self._apis.get(key)
        if api is None:
            raise RefusedError(f"a request to the API {key}, which is not served")
        served = f"versions {api.versions[0]} to {api.versions[-1]} are served"
        raise RefusedError(f"a request to {api.name} in version {version}; {served}")


def _finish(served: Served, correlation_id: int, deferred: Deferred) -> list[Buffer]:
    body: Body = deferred.finish()
    return [] if body is None else served.encode(correlation_id, body)


def _suffer(fault: Fault, served: Served, body: memoryview) -> Body:
    """Let happen to a request what was ordered; what it is answered with; None: it is executed."""
    if fault.delay_seconds:
        gevent.sleep(fault.delay_seconds)
    if fault.drops:
        raise RefusedError("that was ordered")
    if fault.error is None:
        return None
    api = served.api
    return failed(api.request.decode(body, version=served.version), api.response, fault.error, served.version)
