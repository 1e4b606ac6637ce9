"""The line protocol without I/O: bytes to commands, replies to bytes. ``docs/protocol.md`` is its definition.

A new command is a class and a row of the table in :mod:`~gstream.protocol.commands`, and a handler in the server's
table; its typed replies are those of :mod:`~gstream.protocol.replies`.
"""

from gstream.protocol.commands import (
    BANNER,
    COMMANDS,
    CRLF,
    Command,
    Consume,
    Failure,
    ForeignProtocol,
    Help,
    Negotiate,
    Ping,
    Publish,
    Quit,
    Wait,
)
from gstream.protocol.decoder import Decoder
from gstream.protocol.replies import (
    encode_done,
    encode_end,
    encode_failure,
    encode_help,
    encode_http_refusal,
    encode_lines,
    encode_message,
    encode_notice,
    encode_oks,
)

__all__ = [
    "BANNER",
    "COMMANDS",
    "CRLF",
    "Command",
    "Consume",
    "Decoder",
    "Failure",
    "ForeignProtocol",
    "Help",
    "Negotiate",
    "Ping",
    "Publish",
    "Quit",
    "Wait",
    "encode_done",
    "encode_end",
    "encode_failure",
    "encode_help",
    "encode_http_refusal",
    "encode_lines",
    "encode_message",
    "encode_notice",
    "encode_oks",
]
