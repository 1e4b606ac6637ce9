"""Which server has which partition, as a client may say it itself: there is one server, which has them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gstream.kafka.codes import Code, KafkaError

__all__ = ["check_assignments"]


def check_assignments(node_id: int, assignments: Iterable[Sequence[int]]) -> None:
    """Whether each partition is given to the one server there is. Raises KafkaError."""
    for servers in assignments:
        if list(servers) != [node_id]:
            text = f"a partition cannot be given to the brokers {list(servers)}: there is one, {node_id}"
            raise KafkaError(Code.INVALID_REPLICA_ASSIGNMENT, text)
