"""The tables of ``meta.db``, what writes them, and the checksums of rows; docs/format.md says what is in them.

Knows no file.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from crc32c import crc32c

__all__ = [
    "APPLICATION_ID",
    "PUT_CHUNKS",
    "PUT_DELAYED",
    "PUT_FACTS",
    "PUT_GROUPS",
    "PUT_KEPT",
    "PUT_RECENT",
    "PUT_SHARES",
    "PUT_TOPICS",
    "REMOVE_CHUNKS",
    "REMOVE_DELAYED",
    "REMOVE_FACTS",
    "REMOVE_GROUPS",
    "REMOVE_KEPT",
    "REMOVE_RECENT",
    "REMOVE_TOPICS",
    "TABLES",
    "UPGRADE",
    "VERSION",
    "VERSIONS",
    "Statement",
    "checksum_of_chunk",
    "checksum_of_delayed",
    "checksum_of_fact",
    "checksum_of_group",
    "checksum_of_kept",
    "checksum_of_recent",
    "checksum_of_share",
    "checksum_of_topic",
]

Statement: TypeAlias = tuple[str, str]
"""What stands before its rows, and what stands behind them."""

APPLICATION_ID: Final = int.from_bytes(b"gstm", "big")
"""What SQLite's header says the file is for."""
VERSION: Final = 2
"""Of the tables, in SQLite's ``user_version``."""

TABLES: Final = (
    """\
CREATE TABLE topics (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  partitions INTEGER NOT NULL,
  retain_bytes INTEGER,
  retain_seconds REAL,
  crc INTEGER NOT NULL
)""",
    """\
CREATE TABLE groups (
  id INTEGER PRIMARY KEY,
  topic INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
  name TEXT NOT NULL,
  crc INTEGER NOT NULL,
  UNIQUE (topic, name)
)""",
    """\
CREATE TABLE shares (
  id INTEGER PRIMARY KEY,
  of_group INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
  partition INTEGER NOT NULL,
  low INTEGER,
  crc INTEGER NOT NULL,
  UNIQUE (of_group, partition)
)""",
    """\
CREATE TABLE chunks (
  share INTEGER NOT NULL REFERENCES shares ON DELETE CASCADE,
  number INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  states BLOB NOT NULL,
  PRIMARY KEY (share, number)
)""",
    """\
CREATE TABLE kept (
  share INTEGER NOT NULL REFERENCES shares ON DELETE CASCADE,
  message INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  due_ms INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (share, message)
)""",
    """\
CREATE TABLE delayed (
  topic INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
  number INTEGER NOT NULL,
  partition INTEGER NOT NULL,
  due_ms INTEGER NOT NULL,
  id BLOB,
  kind INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (topic, number)
)""",
    """\
CREATE TABLE recent (
  topic INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
  id BLOB NOT NULL,
  message INTEGER,
  time_ms INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (topic, id)
)""",
    """\
CREATE TABLE facts (
  name TEXT NOT NULL PRIMARY KEY,
  crc INTEGER NOT NULL,
  value BLOB NOT NULL
)""",
)
"""The statements that make the tables."""

UPGRADE: Final = TABLES[-1:]
"""The statements that make tables of version 1 those of this one."""

VERSIONS: Final = {1: TABLES[:-1], VERSION: TABLES}
"""The tables of all versions that are read."""


def _remove(table: str, owner: str, key: str) -> Statement:
    """Remove the rows with these owners and keys.

    SQLite looks them up one by one only where it is left no choice, as here: ``(owner, key) IN (VALUES ...)`` reads the
    whole table, and another form of it all of an owner's rows.
    """
    where = f"{table}.{owner} = gone.owner AND {table}.{key} = gone.key"
    found = f"SELECT {table}.rowid FROM gone CROSS JOIN {table} ON {where}"  # noqa: S608  # names of our own
    return "WITH gone (owner, key) AS (VALUES", f") DELETE FROM {table} WHERE rowid IN ({found})"  # noqa: S608


# A row that is there is changed in its place: REPLACE would remove it first, with all that refers to it, and put the
# new one elsewhere.
REMOVE_TOPICS: Final = ("DELETE FROM topics WHERE id IN (VALUES", ")")
PUT_TOPICS: Final = (
    "INSERT INTO topics (id, name, partitions, retain_bytes, retain_seconds, crc) VALUES",
    (
        " ON CONFLICT (id) DO UPDATE SET partitions = excluded.partitions, retain_bytes = excluded.retain_bytes,"
        " retain_seconds = excluded.retain_seconds, crc = excluded.crc"
    ),
)
REMOVE_GROUPS: Final = ("DELETE FROM groups WHERE id IN (VALUES", ")")
PUT_GROUPS: Final = ("INSERT INTO groups (id, topic, name, crc) VALUES", "")
PUT_SHARES: Final = (
    "INSERT INTO shares (id, of_group, partition, low, crc) VALUES",
    " ON CONFLICT (id) DO UPDATE SET low = excluded.low, crc = excluded.crc",
)
REMOVE_CHUNKS: Final = _remove("chunks", "share", "number")
PUT_CHUNKS: Final = (
    "INSERT INTO chunks (share, number, crc, states) VALUES",
    " ON CONFLICT (share, number) DO UPDATE SET crc = excluded.crc, states = excluded.states",
)
REMOVE_KEPT: Final = _remove("kept", "share", "message")
PUT_KEPT: Final = (
    "INSERT INTO kept (share, message, attempt, due_ms, time_ms, kind, crc, data) VALUES",
    (
        " ON CONFLICT (share, message) DO UPDATE SET attempt = excluded.attempt, due_ms = excluded.due_ms,"
        " time_ms = excluded.time_ms, kind = excluded.kind, crc = excluded.crc, data = excluded.data"
    ),
)
REMOVE_DELAYED: Final = _remove("delayed", "topic", "number")
PUT_DELAYED: Final = (
    "INSERT INTO delayed (topic, number, partition, due_ms, id, kind, crc, data) VALUES",
    (
        " ON CONFLICT (topic, number) DO UPDATE SET partition = excluded.partition, due_ms = excluded.due_ms,"
        " id = excluded.id, kind = excluded.kind, crc = excluded.crc, data = excluded.data"
    ),
)
REMOVE_RECENT: Final = _remove("recent", "topic", "id")
PUT_RECENT: Final = (
    "INSERT INTO recent (topic, id, message, time_ms, crc) VALUES",
    " ON CONFLICT (topic, id) DO UPDATE SET message = excluded.message, time_ms = excluded.time_ms, crc = excluded.crc",
)

REMOVE_FACTS: Final = ("DELETE FROM facts WHERE name IN (VALUES", ")")
PUT_FACTS: Final = (
    "INSERT INTO facts (name, crc, value) VALUES",
    " ON CONFLICT (name) DO UPDATE SET crc = excluded.crc, value = excluded.value",
)


# --- checksums: of a row's numbers, 8 bytes each, and then of its text or blobs, whose lengths are among the numbers

_NULL: Final = -(1 << 63)
_NUMBER: Final = struct.Struct(">q").pack
_REAL: Final = struct.Struct(">d").pack
_TWO: Final = struct.Struct(">2q").pack
_THREE: Final = struct.Struct(">3q").pack
_FOUR: Final = struct.Struct(">4q").pack
_SEVEN: Final = struct.Struct(">7q").pack


def checksum_of_topic(
    id: int, name: str, partitions: int, retain_bytes: int | None, retain_seconds: float | None
) -> int:
    """Of a row of topics.

    Like all of these, raises struct.error, TypeError, AttributeError or ValueError if the types are others.
    """
    text = name.encode()
    numbers = _FOUR(id, len(text), partitions, _NULL if retain_bytes is None else retain_bytes)
    return crc32c(numbers + (_NUMBER(_NULL) if retain_seconds is None else _REAL(retain_seconds)) + text)


def checksum_of_group(id: int, topic: int, name: str) -> int:
    """Of a row of groups."""
    text = name.encode()
    return crc32c(_THREE(id, topic, len(text)) + text)


def checksum_of_share(id: int, of_group: int, partition: int, low: int | None) -> int:
    """Of a row of shares."""
    return crc32c(_FOUR(id, of_group, partition, _NULL if low is None else low))


def checksum_of_chunk(share: int, number: int, states: bytes) -> int:
    """Of a row of chunks."""
    return crc32c(_THREE(share, number, len(states)) + states)


def checksum_of_kept(share: int, message: int, attempt: int, due_ms: int, time_ms: int, kind: int, data: bytes) -> int:
    """Of a row of kept."""
    return crc32c(data, crc32c(_SEVEN(share, message, attempt, due_ms, time_ms, kind, len(data))))


def checksum_of_delayed(
    topic: int, number: int, partition: int, due_ms: int, id: bytes | None, kind: int, data: bytes
) -> int:
    """Of a row of delayed."""
    size, known = (_NULL, b"") if id is None else (len(id), id)
    return crc32c(data, crc32c(_SEVEN(topic, number, partition, due_ms, size, kind, len(data)) + known))


def checksum_of_recent(topic: int, id: bytes, message: int | None, time_ms: int) -> int:
    """Of a row of recent."""
    return crc32c(_FOUR(topic, len(id), _NULL if message is None else message, time_ms) + id)


def checksum_of_fact(name: str, value: bytes) -> int:
    """Of a row of facts."""
    text = name.encode()
    return crc32c(value, crc32c(_TWO(len(text), len(value)) + text))
