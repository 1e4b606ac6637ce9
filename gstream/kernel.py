"""What the kernel knows of a connected socket, and is asked for it.

Decides nothing. Knows bytes, no commands.
"""

from __future__ import annotations

import _socket
import fcntl
import select
import socket
import struct
import termios
from contextlib import suppress

__all__ = ["has_error", "look_ahead", "queued_bytes", "reset_on_close"]

_ENDED = getattr(select, "POLLRDHUP", 0)  # Linux
_GONE = select.POLLHUP | select.POLLERR
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER


def look_ahead(sock: _socket.socket, size: int) -> tuple[bytes, bool, bool, bool]:
    """What can be read, which stays there; whether the peer has closed its sending side, is gone, and has reset."""
    poll = select.poll()
    poll.register(sock.fileno(), _ENDED)
    events = dict(poll.poll(0)).get(sock.fileno(), 0)
    if events & _GONE:
        return b"", True, True, False
    try:
        ahead = sock.recv(size, socket.MSG_PEEK)
    except BlockingIOError:
        return b"", False, False, False
    except OSError:
        return b"", True, True, True
    return ahead, not ahead or bool(events & _ENDED), False, False


def queued_bytes(sock: _socket.socket) -> int:
    """How much lies in the send queue; 0 where the system does not tell."""
    queued = bytearray(4)
    try:
        fcntl.ioctl(sock, termios.TIOCOUTQ, queued)
    except OSError:  # not known on this system: what was sent counts as arrived
        return 0
    return int.from_bytes(queued, "little")


def has_error(sock: _socket.socket) -> bool:
    """Whether there was an error, of which the system tells once."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def reset_on_close(sock: _socket.socket) -> None:
    """Let closing reset the connection, and drop what lies in the send queue."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
