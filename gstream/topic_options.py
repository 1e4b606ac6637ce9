"""What Kafka's clients set for a topic, besides its limits.

Knows nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

__all__ = ["TopicOptions"]


@dataclass(frozen=True)
class TopicOptions:
    """What is set for a topic; None: as the server's settings say.

    max_message_bytes: how large a batch of Kafka's may be.
    segment_bytes: how large the files are in which messages lie.
    append_time: the time of a record is when it was stored, and not what its producer says.
    is_log: what all groups have taken is kept, too, until a limit or the need of room takes it.
    """

    max_message_bytes: int | None = None
    segment_bytes: int | None = None
    append_time: bool = False
    is_log: bool = False

    def encode(self) -> bytes | None:
        """As it is kept: JSON of what differs from the default; None: nothing does."""
        told = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != each.default:
                told[each.name] = value
        return json.dumps(told).encode() if told else None

    @classmethod
    def decode(cls, kept: bytes | None) -> TopicOptions:
        """What was kept so."""
        return cls() if kept is None else cls(**json.loads(kept))
