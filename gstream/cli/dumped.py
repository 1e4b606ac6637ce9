"""What ``gstream log dump`` shows: batches, their messages and what is wrong between them, each as a line.

A line is made when its turn comes, so that a log of any size needs no more memory than its largest batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

from gstream.batch import Message
from gstream.cli.records import text_or_base64, value_field
from gstream.record import Record, RecordsError, decode_records
from gstream.storage.check import Dumped
from gstream.storage.contents import contradiction
from gstream.storage.directory import TOPICS
from gstream.storage.finding import Finding
from gstream.storage.frame import COUNTED, LINES, RECORDS, Frame

__all__ = ["Entry", "JsonLines", "NotShown", "Table", "encode_finding", "entries", "first"]

KINDS = {LINES: "lines", COUNTED: "counted", RECORDS: "records"}
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class NotShown:
    """Messages of a batch that cannot be shown. offset, next_offset: of the batch."""

    offset: int
    next_offset: int
    why: str


Entry: TypeAlias = Dumped | Finding | Message | Record | NotShown


def entries(found: Iterable[Dumped | Finding], *, messages: bool, from_offset: int = 0) -> Iterator[Entry]:
    """What was found, each batch followed by its messages from this offset on, if those are wanted."""
    for each in found:
        yield each
        if messages and isinstance(each, Dumped):
            yield from _messages(each.frame, from_offset)


def first(found: Iterable[Entry], count: int | None, kinds: tuple[type, ...]) -> Iterator[Entry]:
    """All up to so many entries of these kinds; None: all."""
    left = count
    for each in found:
        yield each
        if left is not None and isinstance(each, kinds):
            left -= 1
            if not left:
                return


def _messages(frame: Frame, from_offset: int) -> Iterator[Message | Record | NotShown]:
    why = contradiction(frame)
    try:
        if frame.is_records:
            yield from (each for each in decode_records(frame.stored) if each.offset >= from_offset)
        elif not why:
            yield from frame.batch(0, from_offset).messages()
    except RecordsError as error:
        why = str(error)
    if why:
        yield NotShown(frame.offset, frame.next_offset, why)


class Table:
    """Lines for people: a heading for each file, a line for each batch, and messages that cannot harm a terminal."""

    def __init__(self) -> None:
        self._path = ""

    def lines(self, entry: Entry) -> Iterator[str]:
        """The lines of an entry."""
        if isinstance(entry, Dumped | Finding):
            if entry.path != self._path:
                if self._path:
                    yield ""
                yield _escape(os.fsencode(entry.path))
                yield _row("OFFSET", "MESSAGES", "TIME", "TIME_MS", "KIND", "POSITION", "BYTES", "CRC")
                self._path = entry.path
            yield _batch_row(entry) if isinstance(entry, Dumped) else _finding_row(entry)
        elif isinstance(entry, NotShown):
            yield f"{'':12}  messages not shown: {entry.why}"
        else:
            yield _message_row(entry)


def _row(*cells: object) -> str:
    offset, messages, time, time_ms, kind, position, size, crc = cells
    return f"{offset:>12}  {messages:>8}  {time:<29}  {time_ms:>13}  {kind:<8}  {position:>10}  {size:>10}  {crc}"


def _batch_row(dumped: Dumped) -> str:
    frame, header = dumped.frame, dumped.frame.header
    time = _local_time(header.base_ms) or UNKNOWN
    kind = KINDS[header.magic]
    return _row(frame.offset, header.records, time, header.base_ms, kind, frame.position, frame.size, "ok")


def _finding_row(finding: Finding) -> str:
    messages = UNKNOWN if finding.next_offset is None else finding.next_offset - finding.offset
    place = (finding.position, finding.size, finding.text)
    return _row(finding.offset, messages, UNKNOWN, UNKNOWN, finding.kind.value, *place)


def _message_row(message: Message | Record) -> str:
    parts = [f"{message.offset:>12}"]
    if message.key is not None:
        parts.append(f"key={_escape(message.key)}")
    parts += [f"{_escape(name.encode())}: {_escape(value or b'')}" for name, value in message.headers]
    body = _body(message)
    parts.append("(no body)" if body is None else _escape(body))
    return "  ".join(parts)


def _escape(data: bytes) -> str:
    """Text on one line that moves no cursor; what is no UTF-8, or not printable, as in a Python literal."""
    text = data.replace(b"\\", rb"\\").decode(errors="backslashreplace")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class JsonLines:
    """An object a line."""

    def __init__(self) -> None:
        self._path = ""
        self._place: dict[str, Any] = {}

    def lines(self, entry: Entry) -> Iterator[str]:
        """The line of an entry."""
        if isinstance(entry, Dumped):
            if entry.path != self._path:
                self._path = entry.path
                self._place = _place(entry.path)
            row = {"type": "batch", "file": _text(entry.path), **self._place, **_batch_fields(entry.frame)}
        elif isinstance(entry, Finding):
            yield encode_finding(entry)
            return
        elif isinstance(entry, NotShown):
            place = {"base_offset": entry.offset, "next_offset": entry.next_offset}
            row = {"type": "not shown", **self._place, **place, "text": entry.why}
        else:
            row = {"type": "message", **self._place, **_message_fields(entry)}
        yield json.dumps(row, ensure_ascii=False)


def encode_finding(finding: Finding) -> str:
    """A finding as an object."""
    row = {"type": "finding", "kind": finding.kind.value, "file": _text(finding.path), **_place(finding.path)}
    row.update(position=finding.position, size=finding.size, offset=finding.offset, next_offset=finding.next_offset)
    return json.dumps({**row, "text": finding.text}, ensure_ascii=False)


def _batch_fields(frame: Frame) -> dict[str, Any]:
    header = frame.header
    return {
        "base_offset": header.base_offset,
        "next_offset": header.next_offset,
        "count": header.records,
        "time": _local_time(header.base_ms),
        "time_ms": header.base_ms,
        "max_time_ms": header.max_ms,
        "kind": KINDS[header.magic],
        "position": frame.position,
        "size": frame.size,
        "crc_ok": True,
    }


def _message_fields(message: Message | Record) -> dict[str, Any]:
    row: dict[str, Any] = {"offset": message.offset}
    row.update(time=_local_time(message.time_ms), time_ms=message.time_ms)
    if message.key is not None:
        row.update(value_field("key", message.key))
    if message.headers:
        # Pairs: a name may come twice.
        row["headers"] = [[name, None if value is None else text_or_base64(value)] for name, value in message.headers]
    body = _body(message)
    row.update({"body": None} if body is None else value_field("body", body))
    return row


def _body(message: Message | Record) -> bytes | None:
    return message.value if isinstance(message, Record) else message.body


def _place(path: str) -> dict[str, Any]:
    """The topic and the partition of a file, if it lies where those of a data directory do."""
    *_, topics, topic, partition, _ = ("", "", "", *os.path.abspath(path).split(os.sep))
    return {"topic": topic, "partition": int(partition)} if topics == TOPICS and partition.isdecimal() else {}


def _text(path: str) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")


@lru_cache(maxsize=64)
def _local_time(time_ms: int) -> str | None:
    """As this machine's clock shows it; None for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().isoformat(timespec="milliseconds")
    except (OverflowError, OSError, ValueError):
        return None
