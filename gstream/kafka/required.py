"""Which fields of a request must be there: the library decodes null for any of them, and handlers expect none.

Read from the schemas of ``kafka.protocol``, which say in which versions a field may be null. Knows no API.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from gstream.kafka.encoding import MalformedError

__all__ = ["Required", "check", "required_of"]

_LATEST = 1 << 15
_CANNOT_BE_NULL = {"bool", "int8", "int16", "int32", "int64", "uint16", "uint32", "float64", "uuid"}


class Required(NamedTuple):
    """A field that must not be null, or that has such fields in it.

    may_be_null: whether it may itself be null. is_array: whether it is many. inner: of each, or of it.
    """

    name: str
    may_be_null: bool
    is_array: bool
    inner: tuple[Required, ...]


def required_of(request: Any, version: int) -> tuple[Required, ...]:
    """What must be there in this version of a request of this class."""
    return _required(request.json["fields"], version)


def check(value: Any, required: Iterable[Required]) -> None:
    """Raise MalformedError if something is null that must not be."""
    for name, may_be_null, is_array, inner in required:
        field = getattr(value, name)
        if field is None:
            if not may_be_null:
                raise MalformedError(f"{name} is null")
        elif not is_array:
            check(field, inner)
        elif inner:
            for each in field:
                check(each, inner)
        elif None in field:
            raise MalformedError(f"one of {name} is null")


def _required(fields: list[dict[str, Any]], version: int) -> tuple[Required, ...]:
    made = []
    for field in fields:
        kind: str = field["type"]
        is_array = kind.startswith("[]")
        if not _has(field["versions"], version) or kind in _CANNOT_BE_NULL:
            continue
        # A tagged field that is left out is null.
        may_be_null = _has(field.get("nullableVersions"), version) or _has(field.get("taggedVersions"), version)
        inner = _required(field.get("fields", []), version)
        if inner or not may_be_null or is_array:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", field["name"]).lower()
            made.append(Required(name, may_be_null, is_array, inner))
    return tuple(made)


def _has(versions: str | None, version: int) -> bool:
    """Whether this is one of ``"0-4"``, ``"3+"``, ``"2"``, ``"none"``."""
    if not versions or versions == "none":
        return False
    first, _, last = versions.partition("-")
    if versions.endswith("+"):
        return int(versions[:-1]) <= version <= _LATEST
    return int(first) <= version <= int(last or first)
