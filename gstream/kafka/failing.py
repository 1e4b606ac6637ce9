"""The reply that says the same error of everything that a request asks for, in the shape of any API.

Made from the schemas of ``kafka.protocol``: what a request names (topics, partitions, groups) is named in the reply,
each with the error, and so is the error of the whole, where a reply has one. For faults that tests order, and for
whatever went wrong before a handler knew what it was asked.
"""

from __future__ import annotations

import re
from typing import Any, Final

from gstream.kafka.codes import Code

__all__ = ["failed"]

_ERROR: Final = "ErrorCode"
_FETCH: Final = 1
_SIMPLE: Final = {"string", "int32", "int16", "int8", "int64", "uuid", "bool"}


def failed(request: Any, response: type, code: Code, version: int) -> Any:
    """A response of this class to this request, as version ``version`` has it, in which everything failed."""
    schema: dict[str, Any] = response.json  # type: ignore[attr-defined]
    fields = schema["fields"]
    if schema["apiKey"] == _FETCH:  # its own error is of the fetch session, and clients do not try that again
        fields = [field for field in fields if field["name"] != _ERROR]
    return response(**_failed_fields(request, type(request).json["fields"], fields, response, code, version))


def _failed_fields(
    asked: Any, asked_fields: list[Any], fields: list[Any], owner: Any, code: Code, version: int
) -> dict[str, Any]:
    """What has an error of its own has it; else each of its items, as far down as necessary."""
    there = [field for field in fields if _has(field["versions"], version)]
    if any(field["name"] == _ERROR for field in there):
        return {_attribute(_ERROR): int(code)}
    return {
        _attribute(field["name"]): _failed_items(asked, asked_fields, field, owner, code, version)
        for field in there
        if _is_array(field) and _tells_errors(field)
    }


def _failed_items(
    asked: Any, asked_fields: list[Any], field: dict[str, Any], owner: Any, code: Code, version: int
) -> list[Any]:
    """One item for each that the request names in the array which is the counterpart of this one."""
    source = next((each for each in asked_fields if _is_array(each) and _has(each["versions"], version)), None)
    items = getattr(asked, _attribute(source["name"]), None) if source is not None else None
    if not items or source is None:
        return []
    kind = getattr(owner, field["type"].removeprefix("[]"))
    key = next(each for each in field["fields"] if _names(each, version))
    made = []
    for item in items:
        if source.get("fields"):
            values = _failed_fields(item, source["fields"], field["fields"], kind, code, version)
            named = next(each for each in source["fields"] if _names(each, version) and each["type"] == key["type"])
            values[_attribute(key["name"])] = getattr(item, _attribute(named["name"]))
        else:
            values = _failed_fields(item, [], field["fields"], kind, code, version)
            values[_attribute(key["name"])] = item
        made.append(kind(**values))
    return made


def _names(field: dict[str, Any], version: int) -> bool:
    """Whether it may be what tells an item from others: its first simple field."""
    return field["type"] in _SIMPLE and field["name"] != _ERROR and _has(field["versions"], version)


def _tells_errors(field: dict[str, Any]) -> bool:
    inner = field.get("fields", ())
    return any(each["name"] == _ERROR or _tells_errors(each) for each in inner)


def _is_array(field: dict[str, Any]) -> bool:
    kind: str = field["type"]
    return kind.startswith("[]")


def _has(versions: str, version: int) -> bool:
    first, _, last = versions.partition("-")
    if versions.endswith("+"):
        return version >= int(versions[:-1])
    if versions == "none":
        return False
    return int(first) <= version <= int(last or first)


def _attribute(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
