"""gstream: a Kafka-like message server in one pip install.

What a program imports is here. Nothing happens on import: no monkey-patching, no logging, and gevent is not loaded
before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gstream.client import Client, Lease, Message, Subscription
    from gstream.config import Config
    from gstream.errors import (
        ClientError,
        ConfigError,
        DisconnectedError,
        GstreamError,
        ListenError,
        RefusedError,
        ServerUnreachableError,
    )
    from gstream.service import Service

__version__ = "0.1.0"

__all__ = [
    "Client",
    "ClientError",
    "Config",
    "ConfigError",
    "DisconnectedError",
    "GstreamError",
    "Lease",
    "ListenError",
    "Message",
    "RefusedError",
    "ServerUnreachableError",
    "Service",
    "Subscription",
    "__version__",
]

_MODULES = {
    "Client": "client",
    "Config": "config",
    "Lease": "client",
    "Message": "client",
    "Service": "service",
    "Subscription": "client",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
