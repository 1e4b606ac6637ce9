"""ApiVersions: byte for byte as the library encodes it, for all versions, and what is not served."""

from __future__ import annotations

import pytest
from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse

from gstream.kafka import api_versions
from gstream.kafka.api import Api, Context, Peer
from gstream.kafka.codes import Code

Row = ApiVersionsResponse.ApiVersion

PRODUCE = Api(0, "Produce", range(10), None, None)
FETCH = Api(1, "Fetch", range(4, 13), None, None)
RANGES = [(0, 0, 9), (1, 4, 12), (18, 0, 4)]


@pytest.fixture
def api():
    return api_versions.serving([PRODUCE, FETCH])


def expected(version, rows, code=0):
    reply = ApiVersionsResponse(
        error_code=code,
        api_keys=[Row(api_key=key, min_version=first, max_version=last) for key, first, last in rows],
        throttle_time_ms=0,
    )
    return reply.encode(version=version)


@pytest.mark.parametrize("version", range(5))
def test_a_reply_names_all_apis_and_itself(api, version):
    request = ApiVersionsRequest(client_software_name="x", client_software_version="1")
    (body,) = api.handle(None, request, Context(version))
    assert body == expected(version, RANGES)


def test_its_row_is_its_own(api):
    assert (api.key, api.versions) == (18, range(5))
    assert (api.request, api.response) == (ApiVersionsRequest, ApiVersionsResponse)


def test_an_unserved_version_is_answered_in_the_oldest():
    assert expected(0, [(18, 0, 4)], Code.UNSUPPORTED_VERSION) == api_versions.UNSUPPORTED


def test_clients_say_what_they_are(api):
    peer = Peer()
    request = ApiVersionsRequest(client_software_name="librdkafka", client_software_version="2.0.2")
    api.handle(None, request, Context(3, peer=peer))
    assert (peer.software_name, peer.software_version) == ("librdkafka", "2.0.2")


def test_what_they_say_cannot_break_a_line_of_the_log(api):
    peer = Peer()
    request = ApiVersionsRequest(client_software_name="evil\nname\x1b[31m" + "x" * 1000, client_software_version="\0")
    api.handle(None, request, Context(4, peer=peer))
    assert peer.software_name.startswith("evil?name?[31mxxx")
    assert len(peer.software_name) == 100
    assert peer.software_version == "?"


def test_old_clients_say_nothing(api):
    peer = Peer()
    api.handle(None, ApiVersionsRequest(), Context(2, peer=peer))
    assert (peer.software_name, peer.software_version) == ("", "")
