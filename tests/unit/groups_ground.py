"""What the tests of Kafka's groups share: clients without sockets, a clock that goes on when a test says so.

Requests and replies go through bytes, in the version that is asked for: what has no place in it is not seen.
"""

from __future__ import annotations

import struct
from types import SimpleNamespace

import gevent

from gstream.broker import Broker
from gstream.config import Config
from gstream.kafka import join_group, sync_group
from gstream.kafka.api import Context, Deferred, Peer
from gstream.kafka.member import Joining
from gstream.kafka.node import Node
from gstream.storage.memory import Memory
from gstream.topic import TopicSettings

RANGE = (("range", b"about range"),)
BOTH = (("range", b"about range"), ("roundrobin", b"about turns"))

Protocol = join_group.API.request.JoinGroupRequestProtocol
Assignment = sync_group.API.request.SyncGroupRequestAssignment


def joining(member_id="", protocols=RANGE, session_seconds=10.0, rebalance_seconds=60.0, **more):
    """Somebody who wants to join; by default in one step."""
    more.setdefault("protocol_type", "consumer")
    return Joining(
        member_id, protocols=protocols, session_seconds=session_seconds, rebalance_seconds=rebalance_seconds, **more
    )


def subscription(*topics):
    """What a consumer of these topics says."""
    names = b"".join(struct.pack(">h", len(topic)) + topic.encode() for topic in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


class Clock:
    """The wall clock of an engine that a test can set."""

    def __init__(self, now=1_700_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


def make_node(time, engine=None, partitions=2, **settings):
    """A node with the topics ``orders`` and ``mails``."""
    config = Config(kafka=True, partitions=partitions, **settings)
    if engine is None:
        engine = Memory(config.max_memory_bytes)
        engine.clock = Clock()
    node = Node(Broker(engine, time.agenda, TopicSettings(config.partitions)), config)
    for name in ("orders", "mails"):
        node.broker.topic(name)
    return node


def ask(node, api, version=None, peer=None, **fields):
    """The reply, decoded, to a request with these fields; by default of the newest version. Blocks as the handler does.

    What waits for the disk is waited for.
    """
    version = api.versions[-1] if version is None else version
    assert version in api.versions
    request = api.request.decode(api.request(**fields).encode(version=version), version=version)
    reply = api.handle(node, request, Context(version, "client", peer=peer))
    if isinstance(reply, Deferred):
        if not reply.commit.is_done:
            done = gevent.event.Event()
            reply.commit.then(done.set)
            done.wait()
        reply = reply.finish()
    encoded = b"".join(reply) if isinstance(reply, list) else reply.encode(version=version)
    return api.response.decode(encoded, version=version)


class Asked:
    """A request on its way, in a greenlet of its own."""

    def __init__(self, *args, **fields):
        self._greenlet = gevent.spawn(ask, *args, **fields)
        gevent.idle()

    @property
    def is_answered(self):
        gevent.idle()
        return self._greenlet.ready()

    @property
    def reply(self):
        assert self.is_answered
        return self._greenlet.get()


def join(node, member_id="", version=None, protocols=RANGE, group="workers", **fields):
    """JoinGroup on its way."""
    fields = {"session_timeout_ms": 10_000, "rebalance_timeout_ms": 60_000, "protocol_type": "consumer", **fields}
    protocols = [Protocol(name=name, metadata=metadata) for name, metadata in protocols]
    return Asked(node, join_group.API, version, group_id=group, member_id=member_id, protocols=protocols, **fields)


def sync(node, joined, assignments=(), version=None, group="workers", **fields):
    """SyncGroup on its way, of one who was told the generation."""
    fields = {
        "generation_id": joined.generation_id,
        "member_id": joined.member_id,
        "assignments": [Assignment(member_id=id, assignment=data) for id, data in assignments],
        **fields,
    }
    return Asked(node, sync_group.API, version, group_id=group, **fields)


def member(node, group="workers", protocols=RANGE, **fields):
    """The only member of a group, once it has its part of the work: id and generation."""
    id = join(node, group=group, protocols=protocols, **fields).reply.member_id
    joined = join(node, id, group=group, protocols=protocols, **fields).reply
    assert joined.error_code == 0
    assert sync(node, joined, [(id, b"all")], group=group).reply.error_code == 0
    return SimpleNamespace(id=id, generation=joined.generation_id)


def gone():
    """The other end of a connection that is not there any more."""
    return Peer(is_gone=lambda: True)
