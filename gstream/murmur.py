"""Kafka's hash of a key, which chooses its partition: the 32-bit murmur2 of Austin Appleby, seed 0x9747b28c.

Java's and most other Kafka clients use it by default (``org.apache.kafka.common.utils.Utils.murmur2``), so a key lies
in one partition whoever publishes it.
"""

from __future__ import annotations

__all__ = ["murmur2"]

_M, _R, _SEED = 0x5BD1E995, 24, 0x9747B28C
_BITS = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """The hash, as an unsigned integer of 32 bits."""
    size = len(key)
    hashed = _SEED ^ size
    whole = size & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * _M & _BITS
        word = (word ^ word >> _R) * _M & _BITS
        hashed = hashed * _M & _BITS ^ word
    if whole < size:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * _M & _BITS
    hashed = (hashed ^ hashed >> 13) * _M & _BITS
    return hashed ^ hashed >> 15
