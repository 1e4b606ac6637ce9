"""Headers of requests and replies, byte for byte as the library makes them, for every API in every version."""

from __future__ import annotations

import struct

import pytest
from kafka.protocol.api_header import ResponseHeader
from kafka.protocol.metadata import ApiVersionsResponse, MetadataRequest, MetadataResponse

from gstream.kafka.api import Api
from gstream.kafka.codec import Served, encode_frame, read_header, serve
from gstream.kafka.table import TABLE

METADATA = Api(3, "Metadata", range(13), None, MetadataRequest, MetadataResponse)
ALL = [(api, version) for api in TABLE.values() for version in api.versions]


def header_of(request, client_id, *, flexible):
    request.with_header(correlation_id=77, client_id=client_id)
    return request.encode_header(flexible=flexible)


@pytest.mark.parametrize(("api", "version"), ALL, ids=[f"{api.name}-{version}" for api, version in ALL])
@pytest.mark.parametrize("client_id", ["kcat", "", "ü" * 200, None])
def test_the_header_of_a_request_is_read(api, version, client_id):
    served = Served(api, version)
    request = api.request()
    request.API_VERSION = version
    header = header_of(request, client_id, flexible=served.is_flexible)
    assert read_header(memoryview(header + b"body"), is_flexible=served.is_flexible) == (client_id, len(header))


@pytest.mark.parametrize(("api", "version"), ALL, ids=[f"{api.name}-{version}" for api, version in ALL])
def test_a_frame_has_the_header_that_the_library_expects(api, version):
    served = Served(api, version)
    frame = b"".join(served.encode(77, [b"a body ", b"in parts"]))
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    header = ResponseHeader(correlation_id=77)
    flexible = api.response.flexible_version_q(version) and api.response is not ApiVersionsResponse
    assert frame[4:] == header.encode(flexible=flexible) + b"a body in parts"


def test_unknown_tags_of_a_header_are_skipped():
    header = bytes.fromhex("0003 000c 0000004d 0001 78 02 00 03 616263 ff01 00")
    assert read_header(memoryview(header), is_flexible=True) == ("x", len(header))


@pytest.mark.parametrize(
    ("header", "is_flexible"),
    [
        ("0003 0000 00000000", False),
        ("0003 0000 00000000 00", False),
        ("0003 0000 00000000 0005 61", False),
        ("0003 0000 00000000 7fff 61", False),
        ("0003 0000 00000000 0001 ff", False),
        ("0003 000c 00000000 ffff", True),
        ("0003 000c 00000000 ffff 01 00 05 61", True),
        ("0003 000c 00000000 ffff ff ff ff ff ff ff", True),
    ],
)
def test_a_header_that_is_none_is_refused(header, is_flexible):
    with pytest.raises((ValueError, IndexError, struct.error)):
        read_header(memoryview(bytes.fromhex(header)), is_flexible=is_flexible)


def test_bodies_are_those_of_the_library():
    served = Served(METADATA, 4)
    request = served.decode(memoryview(MetadataRequest(topics=None, allow_auto_topic_creation=False).encode(version=4)))
    assert (request.topics, request.allow_auto_topic_creation) == (None, False)
    reply = MetadataResponse(throttle_time_ms=0, brokers=[], cluster_id="c", controller_id=1, topics=[])
    assert b"".join(served.encode(5, reply))[8:] == reply.encode(version=4)


def test_what_decodes_by_hand_gets_the_bytes():
    api = Api(3, "Metadata", range(13), None, MetadataRequest, decode=lambda body, version: (bytes(body), version))
    assert Served(api, 3).decode(memoryview(b"body")) == (b"body", 3)


def test_buffers_are_not_copied():
    large = bytearray(1000)
    buffers = encode_frame(1, [b"x", memoryview(large)], is_flexible=True)
    assert buffers[2].obj is large
    assert buffers[0] == bytes.fromhex("000003ee 00000001 00")


def test_every_version_has_its_number():
    served = serve([METADATA])
    assert sorted(served) == [3 << 16 | version for version in range(13)]
    assert [each.is_flexible for each in served.values()] == [version >= 9 for version in range(13)]
