"""AddOffsetsToTxn (25), versions 0 to 3: offsets of this group are going to be part of a transaction (KIP-98).

Version 2 knows PRODUCER_FENCED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka.protocol.producer import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse

from gstream.kafka.api import Api, Context, Reply
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.transaction import Identity
from gstream.kafka.transactions import code_in

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["API"]

FENCED_FROM = 2


def handle(node: Node, request: AddOffsetsToTxnRequest, context: Context) -> Reply:
    """Add the group to the transaction of the producer. Blocks until that is kept."""
    code = Code.NONE
    identity = Identity(request.producer_id, request.producer_epoch)
    try:
        node.transactions.add_group(request.transactional_id, identity, request.group_id)
    except KafkaError as error:
        code = code_in(context.version, FENCED_FROM, error)
    return AddOffsetsToTxnResponse(throttle_time_ms=0, error_code=code)


API = Api(25, "AddOffsetsToTxn", range(4), handle, AddOffsetsToTxnRequest, AddOffsetsToTxnResponse)
