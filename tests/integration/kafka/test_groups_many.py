"""A group with a thousand members."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kafka.protocol.consumer import JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse

from gstream.testing import ServerThread, wait_until
from tests.integration.kafka.conftest import Raw

MEMBERS = 1000
VERSION = 3
"""Of JoinGroup: in one step."""

Protocol = JoinGroupRequest.JoinGroupRequestProtocol
Assignment = SyncGroupRequest.SyncGroupRequestAssignment


@pytest.fixture
def raws(server: ServerThread) -> Iterator[list[Raw]]:
    with ExitStack() as clients:
        yield [clients.enter_context(Raw(server)) for _ in range(MEMBERS)]


def read(raw: Raw, response: Any, version: int) -> Any:
    return response.decode(raw.read_frame(), version=version, header=True)


def send_join(raw: Raw, number: int, id: str = "") -> None:
    request = JoinGroupRequest(
        group_id="workers",
        session_timeout_ms=60_000,
        rebalance_timeout_ms=60_000,
        member_id=id,
        protocol_type="consumer",
        protocols=[Protocol(name="range", metadata=b"about %d" % number)],
    )
    raw.send_request(request, VERSION)


def count_members(service: Any) -> int:
    return len(service.kafka.node.groups.find("workers").roster)


def test_a_thousand_members(server: ServerThread, raws: list[Raw]) -> None:
    send_join(raws[0], 0)
    first = read(raws[0], JoinGroupResponse, VERSION)
    for number, raw in enumerate(raws[1:], 1):
        send_join(raw, number)
    wait_until(lambda: server.call(count_members) == MEMBERS, "all have come")
    send_join(raws[0], 0, first.member_id)  # the others wait for this one
    told = [read(raw, JoinGroupResponse, VERSION) for raw in raws]
    assert {(each.error_code, each.generation_id, each.leader) for each in told} == {(0, 2, first.member_id)}
    leader, *others = told
    assert not any(each.members for each in others)
    assert sorted(each.metadata for each in leader.members) == sorted(b"about %d" % number for number in range(MEMBERS))
    shares = [Assignment(member_id=each.member_id, assignment=each.member_id.encode()) for each in told]
    for each, raw in zip([*others, leader], [*raws[1:], raws[0]], strict=True):
        mine = shares if each is leader else []
        request = SyncGroupRequest(group_id="workers", generation_id=2, member_id=each.member_id, assignments=mine)
        raw.send_request(request, VERSION)
    synced = [read(raw, SyncGroupResponse, VERSION) for raw in raws]
    assert [each.assignment for each in synced] == [each.member_id.encode() for each in told]
