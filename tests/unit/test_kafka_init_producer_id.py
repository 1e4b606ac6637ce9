from __future__ import annotations

import pytest
from kafka.protocol.producer import InitProducerIdRequest

from gstream.kafka.api import Context
from gstream.kafka.codes import Code
from gstream.kafka.init_producer_id import API, handle
from gstream.kafka.transactions import MAX_TIMEOUT_MS
from tests.unit.transaction_ground import DISK_FULL, MINUTE, FakeKeeper, Ground, spawn


@pytest.fixture
def ground(time):
    return Ground(time)


def ask(ground, version=4, id="a", producer=(-1, -1), timeout_ms=MINUTE):
    request = InitProducerIdRequest(
        transactional_id=id,
        transaction_timeout_ms=timeout_ms,
        producer_id=producer[0],
        producer_epoch=producer[1],
    )
    reply = handle(ground, request, Context(version))
    return Code(reply.error_code), (reply.producer_id, reply.producer_epoch)


def test_what_it_is():
    assert (API.key, API.name, list(API.versions)) == (22, "InitProducerId", [0, 1, 2, 3, 4])


@pytest.mark.parametrize("version", API.versions)
def test_a_producer_without_transactions_gets_an_id_of_its_own(ground, version):
    code, (first, epoch) = ask(ground, version, None, timeout_ms=0)
    assert (code, epoch) == (Code.NONE, 0)
    assert ask(ground, version, None) == (Code.NONE, (first + 1, 0))
    assert ask(ground, version, None, producer=(first, 0)) == (Code.NONE, (first + 2, 0)), "which it had before"


@pytest.mark.parametrize("version", API.versions)
def test_a_producer_with_transactions_gets_that_of_its_id(ground, version):
    code, (id, epoch) = ask(ground, version)
    assert (code, epoch) == (Code.NONE, 0)
    assert ask(ground, version) == (Code.NONE, (id, 1))


def test_a_producer_says_who_it_was(ground):
    _, first = ask(ground)
    assert ask(ground, producer=first) == (Code.NONE, (first[0], 1))
    ask(ground)
    assert ask(ground, 4, producer=first) == (Code.PRODUCER_FENCED, (-1, -1))
    assert ask(ground, 3, producer=first) == (Code.INVALID_PRODUCER_EPOCH, (-1, -1))
    assert ask(ground, 2, producer=first)[0] is Code.NONE, "this version has no such field"


@pytest.mark.parametrize("producer", [(5, -1), (-1, 5)])
def test_half_an_identity_is_none(ground, producer):
    assert ask(ground, producer=producer) == (Code.INVALID_REQUEST, (-1, -1))


def test_what_is_refused(ground):
    assert ask(ground, id="") == (Code.INVALID_REQUEST, (-1, -1))
    assert ask(ground, timeout_ms=MAX_TIMEOUT_MS + 1) == (Code.INVALID_TRANSACTION_TIMEOUT, (-1, -1))


@pytest.mark.parametrize("id", [None, "a"])
def test_what_cannot_be_kept_is_not_given(time, id):
    ground = Ground(time, FakeKeeper())
    ground.keeper.waits = True
    asking = spawn(ask, ground, id=id)
    ground.keeper.write(DISK_FULL)
    assert asking.get(timeout=1) == ((Code.COORDINATOR_NOT_AVAILABLE, (-1, -1)), None)
