"""What a client may do with a topic, a group or the cluster: everything, since there are no users.

Clients ask for it since KIP-430. Each operation is a number, and a bit of the reply. Knows no API.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["CLUSTER_OPERATIONS", "GROUP_OPERATIONS", "NOT_ASKED", "TOPIC_OPERATIONS", "bits_of"]

READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE = 3, 4, 5, 6, 7, 8
CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE = 9, 10, 11, 12

TOPIC_OPERATIONS = frozenset((READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS))
GROUP_OPERATIONS = frozenset((READ, DELETE, DESCRIBE))
CLUSTER_OPERATIONS = frozenset(
    (CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE)
)

NOT_ASKED = -(1 << 31)
"""The bits of a reply whose client has not asked."""


def bits_of(operations: Iterable[int]) -> int:
    """These operations as a reply has them."""
    return sum(1 << each for each in operations)
