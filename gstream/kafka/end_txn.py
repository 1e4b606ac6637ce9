"""EndTxn (26), versions 0 to 3: a producer commits its transaction, or aborts it (KIP-98).

Answered when that is sure and everybody knows it, so that the next transaction can begin at once. Asked again, it says
that it was done. Version 2 knows PRODUCER_FENCED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka.protocol.producer import EndTxnRequest, EndTxnResponse

from gstream.kafka.api import Api, Context, Reply
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.transaction import Identity
from gstream.kafka.transactions import code_in

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

FENCED_FROM = 2


def handle(node: Node, request: EndTxnRequest, context: Context) -> Reply:
    """End the transaction of the producer. Blocks until its markers are stored."""
    code = Code.NONE
    identity = Identity(request.producer_id, request.producer_epoch)
    try:
        node.transactions.end(request.transactional_id, identity, commits=request.committed)
    except KafkaError as error:
        code = code_in(context.version, FENCED_FROM, error)
    return EndTxnResponse(throttle_time_ms=0, error_code=code)


API = Api(26, "EndTxn", range(4), handle, EndTxnRequest, EndTxnResponse)
