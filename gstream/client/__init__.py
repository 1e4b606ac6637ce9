"""A client for Python programs: plain blocking sockets, with or without gevent; see :class:`Client`.

Knows the protocol's bytes by itself, and nothing of the server: a program that only talks to one loads nothing else.
"""

from gstream.client.client import Client
from gstream.client.lease import Lease
from gstream.client.message import Message
from gstream.client.subscription import Subscription

__all__ = ["Client", "Lease", "Message", "Subscription"]
