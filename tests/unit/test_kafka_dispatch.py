"""Requests to handlers and back: what is answered, later, not at all, and what ends the connection."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import gevent
import pytest
from kafka.protocol.metadata import (
    ApiVersionsResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    MetadataRequest,
    MetadataResponse,
)

from gstream.commit import Commit
from gstream.kafka import api_versions
from gstream.kafka.api import Api, Deferred, Peer
from gstream.kafka.codes import Code
from gstream.kafka.dispatch import Dispatcher, Later
from gstream.kafka.faults import Fault, Faults
from gstream.kafka.receiving import RefusedError

REPLY = MetadataResponse(throttle_time_ms=0, brokers=[], cluster_id="c", controller_id=1, topics=[])


class Kitchen:
    """A handler that notes what it gets, and gives what it is told to."""

    def __init__(self):
        self.gives = REPLY
        self.calls = []

    def handle(self, node, request, context):
        self.calls.append((node, request, context))
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives


@pytest.fixture
def kitchen():
    return Kitchen()


@pytest.fixture
def node():
    return SimpleNamespace(faults=Faults())


@pytest.fixture
def dispatcher(kitchen, node):
    metadata = Api(3, "Metadata", range(13), kitchen.handle, MetadataRequest, MetadataResponse, max_bytes=1000)
    coordinator = Api(
        10, "FindCoordinator", range(1, 5), kitchen.handle, FindCoordinatorRequest, FindCoordinatorResponse
    )
    return Dispatcher(node, [metadata, coordinator, api_versions.serving([metadata])])


def frame(request, version, correlation_id=77, client_id="me"):
    request.API_VERSION = version
    request.with_header(correlation_id=correlation_id, client_id=client_id)
    return memoryview(request.encode(header=True))


def joined(buffers):
    return b"".join(buffers)


def test_a_request_reaches_its_handler(dispatcher, kitchen, node):
    peer = Peer("10.0.0.1")
    dispatcher.answer(frame(MetadataRequest(topics=[]), 9), peer)
    ((given_node, request, context),) = kitchen.calls
    assert given_node is node
    assert request.topics == []
    assert (context.version, context.client_id, context.correlation_id, context.peer) == (9, "me", 77, peer)


def test_its_reply_is_encoded_in_its_version(dispatcher):
    for version in (0, 8, 9, 12):
        answer = joined(dispatcher.answer(frame(MetadataRequest(topics=[]), version), Peer()))
        assert struct.unpack_from(">ii", answer) == (len(answer) - 4, 77)
        assert answer.endswith(REPLY.encode(version=version))


def test_bodies_by_hand_go_out_as_they_are(dispatcher, kitchen):
    kitchen.gives = [b"by", memoryview(b"hand")]
    assert joined(dispatcher.answer(frame(MetadataRequest(topics=[]), 0), Peer())) == (
        struct.pack(">ii", 10, 77) + b"byhand"
    )


def test_nothing_may_be_answered(dispatcher, kitchen):
    kitchen.gives = None
    assert dispatcher.answer(frame(MetadataRequest(topics=[]), 0), Peer()) is None


def test_a_reply_may_come_later(dispatcher, kitchen):
    commit = Commit()
    kitchen.gives = Deferred(commit, lambda: [b"late"])
    later = dispatcher.answer(frame(MetadataRequest(topics=[]), 9), Peer())
    assert isinstance(later, Later)
    assert later.commit is commit
    assert joined(later.finish()) == struct.pack(">iib", 9, 77, 0) + b"late"


def test_a_version_of_api_versions_that_is_not_served_is_answered_all_the_same(dispatcher):
    unknown = struct.pack(">hhih", 18, 99, 77, -1) + b"\0whatever"
    answer = joined(dispatcher.answer(memoryview(unknown), Peer()))
    assert answer == struct.pack(">ii", len(api_versions.UNSUPPORTED) + 4, 77) + api_versions.UNSUPPORTED
    reply = ApiVersionsResponse.decode(answer, version=4, header=True, framed=True)
    assert reply.error_code == Code.UNSUPPORTED_VERSION
    assert [(row.api_key, row.min_version, row.max_version) for row in reply.api_keys] == [(18, 0, 4)]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (struct.pack(">hhih", 3, 13, 0, -1), "Metadata in version 13; versions 0 to 12 are served"),
        (struct.pack(">hhih", 10, 0, 0, -1), "FindCoordinator in version 0; versions 1 to 4 are served"),
        (struct.pack(">hhih", 3, -1, 0, -1), "Metadata in version 65535"),
        (struct.pack(">hhih", 999, 0, 0, -1), "the API 999, which is not served"),
        (struct.pack(">hhih", -1, 0, 0, -1), "the API 65535, which is not served"),
        (struct.pack(">hhi", 3, 0, 0), "cannot be read, to Metadata (version 0)"),
        (struct.pack(">hhih", 3, 4, 0, -1) + b"\x7f\xff\xff\xff", "cannot be read, to Metadata (version 4)"),
        (struct.pack(">hhih", 3, 9, 0, -1) + b"\0\xff\xff\xff\xff\x0f", "cannot be read, to Metadata (version 9)"),
    ],
)
def test_what_is_no_request_ends_the_connection(dispatcher, kitchen, data, text):
    with pytest.raises(RefusedError) as caught:
        dispatcher.answer(memoryview(data), Peer())
    assert text in str(caught.value)
    assert kitchen.calls == []


def test_a_bug_is_no_request_that_cannot_be_read(dispatcher, kitchen):
    kitchen.gives = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        dispatcher.answer(frame(MetadataRequest(topics=[]), 0), Peer())


def test_each_api_has_its_limit(dispatcher):
    assert dispatcher.limit_of(3) == 1000
    assert dispatcher.limit_of(10) == dispatcher.limit_of(999) == 1 << 20


def test_what_takes_long_to_decode_keeps_nobody_else_waiting(dispatcher, kitchen):
    topics = [MetadataRequest.MetadataRequestTopic(name="t")] * 50_000
    answering = gevent.spawn(dispatcher.answer, frame(MetadataRequest(topics=topics), 4), Peer())
    gevent.sleep(0)
    assert kitchen.calls == []
    assert answering.get(timeout=30)
    ((_, request, _),) = kitchen.calls
    assert len(request.topics) == 50_000
    with pytest.raises(RefusedError):
        dispatcher.answer(memoryview(struct.pack(">hhihi", 3, 4, 0, -1, 1 << 30) + bytes(100_000)), Peer())
    dispatcher.close()
    dispatcher.close()


def test_large_replies_are_made_only_while_others_are_read(kitchen, node):
    fetching = Api(3, "Metadata", range(13), kitchen.handle, MetadataRequest, MetadataResponse, gives_much=True)
    dispatcher = Dispatcher(node, [fetching])
    dispatcher.unread.note(dispatcher.unread.max_bytes + 1)
    answering = gevent.spawn(dispatcher.answer, frame(MetadataRequest(topics=[]), 0), Peer())
    gevent.sleep(0)
    assert kitchen.calls == []
    dispatcher.unread.give(1)
    assert answering.get(timeout=10)


def test_an_error_can_be_ordered(dispatcher, kitchen, node):
    node.faults.order(3, Fault(error=Code.LEADER_NOT_AVAILABLE))
    request = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="t")])
    reply = MetadataResponse.decode(
        joined(dispatcher.answer(frame(request, 9), Peer())), version=9, header=True, framed=True
    )
    assert [(topic.name, topic.error_code) for topic in reply.topics] == [("t", Code.LEADER_NOT_AVAILABLE)]
    assert kitchen.calls == []
    dispatcher.answer(frame(request, 9), Peer())
    assert len(kitchen.calls) == 1


def test_a_delay_can_be_ordered(dispatcher, kitchen, node):
    node.faults.order(3, Fault(delay_seconds=0.001))
    answering = gevent.spawn(dispatcher.answer, frame(MetadataRequest(topics=[]), 0), Peer())
    gevent.sleep(0)
    assert kitchen.calls == []
    assert answering.get(timeout=10)
    assert len(kitchen.calls) == 1


def test_the_end_can_be_ordered(dispatcher, kitchen, node):
    node.faults.order(3, Fault(drops=True))
    with pytest.raises(RefusedError):
        dispatcher.answer(frame(MetadataRequest(topics=[]), 0), Peer())
    assert kitchen.calls == []
