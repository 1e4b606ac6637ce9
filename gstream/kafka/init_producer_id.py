"""InitProducerId (22), versions 0 to 4: a producer starts, and is told by which id and epoch logs will know it.

Without a transactional id it gets an id that nobody has had (KIP-98). With one it gets the id's, with a new epoch:
whoever had that before is refused, and what it left open is aborted. From version 3 on a producer can go on so after
an error (KIP-360); version 4 knows PRODUCER_FENCED (KIP-588).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka.protocol.producer import InitProducerIdRequest, InitProducerIdResponse

from gstream.errors import DiskError
from gstream.kafka.api import Api, Context, Reply
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.transaction import NO_EPOCH, NO_ID, NOBODY, Identity
from gstream.kafka.transactions import code_in

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

RESTART_FROM = 3
FENCED_FROM = 4


def handle(node: Node, request: InitProducerIdRequest, context: Context) -> Reply:
    """Give the producer its identity. Blocks until that is kept."""
    code, identity = Code.NONE, NOBODY
    try:
        identity = _start(node, request, context.version)
    except KafkaError as error:
        code = code_in(context.version, FENCED_FROM, error)
    return InitProducerIdResponse(
        throttle_time_ms=0, error_code=code, producer_id=identity.id, producer_epoch=identity.epoch
    )


def _start(node: Node, request: InitProducerIdRequest, version: int) -> Identity:
    expected = NOBODY
    if version >= RESTART_FROM:
        expected = Identity(request.producer_id, request.producer_epoch)
        if (expected.id == NO_ID) != (expected.epoch == NO_EPOCH):
            raise KafkaError(Code.INVALID_REQUEST)
    if request.transactional_id is not None:
        return node.transactions.start(request.transactional_id, request.transaction_timeout_ms, expected)
    try:
        return Identity(node.producer_ids.take(), 0)
    except DiskError as error:
        raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE, str(error)) from error


API = Api(22, "InitProducerId", range(5), handle, InitProducerIdRequest, InitProducerIdResponse)
