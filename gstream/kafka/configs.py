"""Configurations as Kafka's clients see them: keys with values, each with a type and where its value came from.

Knows no topic and no server: see topic_configs.py and broker_configs.py.
KIP-133 (describe, alter), KIP-226 (sources, synonyms), KIP-569 (types, documentation).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

__all__ = [
    "LARGEST_INT",
    "LARGEST_LONG",
    "Check",
    "Entry",
    "ResourceType",
    "Source",
    "Synonym",
    "Type",
    "flag",
    "fraction",
    "one_of",
    "only",
    "split_list",
    "whole",
]

LARGEST_INT = (1 << 31) - 1
LARGEST_LONG = (1 << 63) - 1


class ResourceType(IntEnum):
    """What has a configuration."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8


class Source(IntEnum):
    """Where a value comes from."""

    TOPIC = 1
    SERVER = 4
    """An option of the server: Kafka's static configuration of a broker."""
    DEFAULT = 5


class Type(IntEnum):
    """What a value is."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7


class Synonym(NamedTuple):
    """Where a value could have come from, the strongest first."""

    name: str
    value: str | None
    source: Source


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value.

    is_read_only: whether it cannot be altered by a client.
    """

    name: str
    value: str | None
    type: Type
    source: Source
    documentation: str
    is_read_only: bool = False
    synonyms: tuple[Synonym, ...] = ()


Check: TypeAlias = Callable[[str], str]
"""A value as it is kept. Raises ValueError, with what is possible."""


def whole(least: int, most: int, also: int | None = None) -> Check:
    """Whole numbers of that range, and one more."""
    possible = f"a whole number from {least} to {most}" + ("" if also is None else f", or {also}")

    def check(value: str) -> str:
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            raise ValueError(possible)
        number = int(value)
        if not least <= number <= most and number != also:
            raise ValueError(possible)
        return str(number)

    return check


def fraction(value: str) -> str:
    """A number from 0 to 1."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError("a number from 0 to 1")
    return value


def flag(value: str) -> str:
    """True or false."""
    if value.lower() not in {"true", "false"}:
        raise ValueError("true or false")
    return value.lower()


def one_of(*values: str) -> Check:
    """One of a few words."""

    def check(value: str) -> str:
        if value not in values:
            raise ValueError("one of " + ", ".join(values))
        return value

    return check


def only(value: str, why: str) -> Check:
    """Nothing but the default."""

    def check(given: str) -> str:
        if given.lower() != value:
            raise ValueError(f"{value}, {why}")
        return value

    return check


def split_list(value: str | None) -> list[str]:
    """The elements of a list as Kafka writes one: with commas."""
    return [each.strip() for each in (value or "").split(",") if each.strip()]
