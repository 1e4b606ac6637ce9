"""A client that outlives its server: what ``gstream consume --follow`` leases by.

Client would connect again by itself, and say nothing. Here the loss is told, once, and the connection made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gstream.cli.output import note
from gstream.errors import ClientError, RefusedError

if TYPE_CHECKING:
    from gstream.client import Client
    from gstream.client.lease import Lease

__all__ = ["RECONNECT_SECONDS", "PatientClient"]

RECONNECT_SECONDS = 30.0
"""Who follows outlives a restart of the server."""

DRAIN = "drain"


class PatientClient:
    """Leases messages, over one connection after the other.

    connect: makes a client that does not connect again by itself. seconds: how long to try to have a lost server back;
    0: not at all. tells: whether the loss is told, on standard error.

    Raises what ``connect`` does.
    """

    def __init__(self, connect: Callable[[], Client], seconds: float, *, tells: bool = True) -> None:
        self.client = connect()
        """The one of the newest connection."""
        self._connect = connect
        self._seconds = seconds
        self._tells = tells

    def __enter__(self) -> PatientClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def lease(self, count: int, *, wait_seconds: float | None) -> Lease:
        """What :meth:`Client.lease <gstream.client.Client.lease>` does; raises ClientError when patience is over."""
        while True:
            try:
                return self.client.lease(count, wait_seconds=wait_seconds)
            except ClientError as error:
                if not self._seconds or not _is_loss(error):
                    raise
                self._return(error)

    def _return(self, loss: ClientError) -> None:
        """Have a connection again; raises the ClientError that the last attempt met."""
        from gstream.client.link import Backoff

        if self._tells:
            note(f"lost the server: {loss}; tries for {self._seconds:g} s to have it back")
        self.client.close()
        backoff = Backoff(self._seconds)
        error = loss
        while backoff.wait():
            try:
                self.client = self._connect()
            except ClientError as again:
                error = again
            else:
                return
        raise error


def _is_loss(error: ClientError) -> bool:
    return not isinstance(error, RefusedError) or error.code == DRAIN
