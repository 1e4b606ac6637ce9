from __future__ import annotations

from kafka.protocol.producer import AddOffsetsToTxnRequest

from gstream.kafka.add_offsets_to_txn import API, handle
from gstream.kafka.api import Context
from gstream.kafka.codes import Code
from tests.unit.transaction_ground import MINUTE, Ground


def ask(ground, identity, version=3, id="a"):
    request = AddOffsetsToTxnRequest(
        transactional_id=id, producer_id=identity[0], producer_epoch=identity[1], group_id="g"
    )
    return Code(handle(ground, request, Context(version)).error_code)


def test_what_it_is():
    assert (API.key, API.name, list(API.versions)) == (25, "AddOffsetsToTxn", [0, 1, 2, 3])


def test_a_group_takes_part(time):
    ground = Ground(time)
    identity = ground.transactions.start("a", MINUTE)
    assert ask(ground, identity) is Code.NONE
    ground.transactions.check_group("a", identity, "g")


def test_what_is_refused(time):
    ground = Ground(time)
    first = ground.transactions.start("a", MINUTE)
    ground.transactions.start("a", MINUTE)
    assert ask(ground, first, 1) is Code.INVALID_PRODUCER_EPOCH
    assert ask(ground, first, 2) is Code.PRODUCER_FENCED
    assert ask(ground, first, id="b") is Code.INVALID_PRODUCER_ID_MAPPING
    assert ask(ground, first, id="") is Code.INVALID_REQUEST
