"""What a consumer says of itself when it joins: which topics it consumes.

The rest of it (what it has had before, its rack) is between the consumers. Layout:
https://github.com/apache/kafka/blob/trunk/clients/src/main/resources/common/message/ConsumerProtocolSubscription.json.
Knows no group.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["decode_topics"]

_COUNT: Final = struct.Struct(">hi")
"""The version, and how many topics there are."""
_LENGTH: Final = struct.Struct(">h")


def decode_topics(metadata: bytes) -> list[str]:
    """The topics; none of what is no subscription."""
    topics: list[str] = []
    try:
        _, count = _COUNT.unpack_from(metadata)
        position = _COUNT.size
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(metadata, position)
            position += _LENGTH.size + length
            if length < 0 or position > len(metadata):
                return []
            topics.append(metadata[position - length : position].decode())
    except (struct.error, UnicodeDecodeError):
        return []
    return topics
