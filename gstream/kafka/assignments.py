"""Which server has which partition, as a client may say it itself: there is one server, which has them all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from gstream.kafka.codes import Code, KafkaError

__all__ = ["check_assignments"]


def check_assignments(servers: Collection[int], assignments: Iterable[Sequence[int]]) -> None:
    """Whether each partition is given to one of these, which are names of the same server. Raises KafkaError."""
    for given in assignments:
        if len(given) != 1 or given[0] not in servers:
            text = f"a partition cannot be given to the brokers {list(given)}: there is one, {max(servers)}"
            raise KafkaError(Code.INVALID_REPLICA_ASSIGNMENT, text)
