"""Listening sockets: TCP addresses and unix sockets, opened with errors that tell what to do.

Knows no protocol and no greenlets.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from typing import Any

from gstream.errors import ConfigError, ListenError

__all__ = ["UnixListener", "address_of", "open_tcp", "resolve"]

BACKLOG = 1024
"""Clients that the kernel lets wait to be accepted: a thousand may come at once."""

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A client whose machine is gone is noticed after two minutes (tcp(7)); seconds, seconds, probes."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


def resolve(host: str, port: int, *, insecure: bool, option: str = "host") -> list[Address]:
    """The addresses to listen on. option: which one has named the host.

    Raises ConfigError when the name is unknown, or when one of them is not loopback and ``insecure`` is not set.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--{option}: cannot resolve {host!r}: {getattr(error, 'strerror', error)}") from None
    addresses: list[Address] = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    for _, address in addresses:
        if not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback and not insecure:
            raise ConfigError(
                f"--{option}: {host} can be reached from other machines, and whoever connects may publish and consume "
                "(there are no users and no TLS yet); if the network is trusted, add --insecure"
            )
    return addresses


def open_tcp(addresses: list[Address], option: str = "port") -> list[socket.socket]:
    """Listening sockets, non-blocking; with port 0 all get the same free port. option: which one has named the port.

    What a name resolves to may not all exist here (::1 without IPv6): one that can be bound is enough. Raises
    ListenError.
    """
    listeners: list[socket.socket] = []
    unavailable: OSError | None = None
    for family, address in addresses:
        port = address[1] or (listeners[0].getsockname()[1] if listeners else 0)
        try:
            listeners.append(_listen(family, (address[0], port, *address[2:])))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                unavailable = error
                continue
            for listener in listeners:
                listener.close()
            hints = {
                errno.EADDRINUSE: f"; stop the other program, or choose another port with --{option}",
                errno.EACCES: f"; ports below 1024 are reserved, choose another with --{option}",
            }
            hint = hints.get(error.errno or 0, "")
            raise ListenError(f"cannot listen on {address[0]}:{port}: {error.strerror}{hint}") from None
    if not listeners and unavailable is not None:
        raise ListenError(f"cannot listen on {addresses[0][1][0]}: {unavailable.strerror}; is it this machine's?")
    return listeners


def _listen(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Accepted sockets inherit these, which saves four system calls a client.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    """Where it listens: ``127.0.0.1:8080``, ``[::1]:8080``."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class UnixListener:
    """A listening unix socket, for this user only; its file is removed by :meth:`close`.

    Raises ListenError when the path is taken by a server that runs or by something that is no socket. A socket file
    that nobody listens on any more is replaced.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        _remove_stale(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self.socket.bind(path)
            self._inode = os.stat(path).st_ino
            self.socket.listen(BACKLOG)
            self.socket.setblocking(False)
        except OSError as error:
            self.socket.close()
            raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from None
        finally:
            os.umask(before)

    def close(self) -> None:
        """Stop listening and remove the file, unless another server has put its own there."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)


def _remove_stale(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # not there; whatever else is wrong, bind will tell
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"cannot listen on {path}: there is a file that is no socket; remove it, or choose another")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)
        except OSError as error:
            raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from None
        else:
            raise ListenError(f"cannot listen on {path}: a server is running there; stop it, or choose another path")
