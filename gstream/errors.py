"""Every error gstream raises on purpose; whatever else is raised is a bug.

GstreamError
├── ReplyError              answered with ``- code text``; the connection stays open and in step
│   ├── UnknownCommandError   unknown
│   ├── ArgumentError         args
│   ├── TooBigError           toobig
│   ├── FullError             full
│   ├── UnknownNameError      name
│   ├── GoneError             gone
│   ├── BusyError             busy
│   ├── DiskError             disk
│   ├── DrainError            drain
│   └── InternalError         internal
├── ConfigError             a setting that cannot be used: one line, exit 2
├── ListenError             an address that cannot be listened on: one line, exit 2
├── StorageError            what files do to those who keep messages in them: one line
│   ├── DamagedError          bytes that are not what was written
│   ├── DiskFullError         no room; works again as soon as there is some
│   ├── LockedError           another process has the directory
│   ├── SyncFailedError       nobody knows what is on disk; the log takes nothing until it was reopened
│   └── VersionError          a directory that this version does not read
└── ClientError             what a client of a server meets
    ├── ServerUnreachableError  nothing listens there
    ├── DisconnectedError       the server closed, or did not answer in time
    └── RefusedError            the server answered ``- code text``
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ArgumentError",
    "BusyError",
    "ClientError",
    "ConfigError",
    "DamagedError",
    "DisconnectedError",
    "DiskError",
    "DiskFullError",
    "DrainError",
    "FullError",
    "GoneError",
    "GstreamError",
    "InternalError",
    "ListenError",
    "LockedError",
    "RefusedError",
    "ReplyError",
    "ServerUnreachableError",
    "StorageError",
    "SyncFailedError",
    "TooBigError",
    "UnknownCommandError",
    "UnknownNameError",
    "VersionError",
]


class GstreamError(Exception):
    """The root of the tree."""


class ReplyError(GstreamError):
    """A command that failed. ``code`` is the stable word of the error line, ``str(error)`` its text."""

    code: ClassVar[str]


class UnknownCommandError(ReplyError):
    """A line that is no command."""

    code = "unknown"


class ArgumentError(ReplyError):
    """A command whose argument cannot be understood."""

    code = "args"


class TooBigError(ReplyError):
    """A line longer than ``max_message_bytes``; it was skipped to its end."""

    code = "toobig"


class FullError(ReplyError):
    """There is no room: the message was not stored, the connection not taken, the topic not made."""

    code = "full"


class UnknownNameError(ReplyError):
    """A topic or a group that cannot have this name, or that does not exist."""

    code = "name"


class GoneError(ReplyError):
    """A message that is not, or no longer, leased by this connection. The text is the ids."""

    code = "gone"


class BusyError(ReplyError):
    """Not now: the connection streams, or the group has consumers."""

    code = "busy"


class DiskError(ReplyError):
    """What was to be stored could not be: the disk is full, or failed. It may work again later."""

    code = "disk"


class DrainError(ReplyError):
    """The server is stopping, and waits no longer."""

    code = "drain"


class InternalError(ReplyError):
    """A bug in the server; its log has the traceback."""

    code = "internal"


class ConfigError(GstreamError):
    """A setting that cannot be used."""


class ListenError(GstreamError):
    """An address that cannot be listened on."""


class StorageError(GstreamError):
    """A file or a directory could not be used. The text is one line that names it."""


class DamagedError(StorageError):
    """Bytes that are not what was written."""


class DiskFullError(StorageError):
    """There is no room. Nothing was stored, and what is stored stays; it works again as soon as there is room."""


class LockedError(StorageError):
    """Another process has the directory."""


class SyncFailedError(StorageError):
    """The system could not say that what was written is on disk.

    It may drop what it could not write and say nothing the next time, so nothing more is written to that log until it
    was reopened: https://wiki.postgresql.org/wiki/Fsync_Errors
    """


class VersionError(StorageError):
    """A directory that another version of gstream made, or something else."""


class ClientError(GstreamError):
    """What a client of a server meets.

    confirmed: how many messages of the same call are known to be stored.
    """

    confirmed: int = 0


class ServerUnreachableError(ClientError):
    """Nothing listens at the address, or it does not answer."""


class DisconnectedError(ClientError):
    """The server closed the connection, or did not answer in time."""


class RefusedError(ClientError):
    """The server answered with an error line.

    code: its stable word.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
