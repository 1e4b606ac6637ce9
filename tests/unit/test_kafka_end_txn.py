from __future__ import annotations

import pytest
from kafka.protocol.producer import EndTxnRequest

from gstream.kafka.api import Context
from gstream.kafka.codes import Code
from gstream.kafka.end_txn import API, handle
from tests.unit.transaction_ground import Ground


def ask(ground, identity, *, committed=True, version=3, id="a"):
    request = EndTxnRequest(
        transactional_id=id, producer_id=identity[0], producer_epoch=identity[1], committed=committed
    )
    return Code(handle(ground, request, Context(version)).error_code)


def test_what_it_is():
    assert (API.key, API.name, list(API.versions)) == (26, "EndTxn", [0, 1, 2, 3])


@pytest.mark.parametrize("committed", [True, False])
def test_it_ends_as_is_said(time, committed):
    ground = Ground(time)
    identity = ground.begin()
    assert ask(ground, identity, committed=committed) is Code.NONE
    assert ground.topic.markers == [(0, identity, committed)]
    assert ask(ground, identity, committed=committed) is Code.NONE
    assert ask(ground, identity, committed=not committed) is Code.INVALID_TXN_STATE
    assert len(ground.topic.markers) == 1


def test_what_is_refused(time):
    ground = Ground(time)
    first = ground.begin()
    ground.transactions.start("a", 1000)
    assert ask(ground, first, version=1) is Code.INVALID_PRODUCER_EPOCH
    assert ask(ground, first, version=2) is Code.PRODUCER_FENCED
    assert ask(ground, first, id="b") is Code.INVALID_PRODUCER_ID_MAPPING
    assert ask(ground, first, id="") is Code.INVALID_REQUEST
