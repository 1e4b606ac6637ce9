"""The tables of ``meta.db``, and the statements that write them; docs/format.md says what is in them.

Knows no file.
"""

from __future__ import annotations

from typing import Final, TypeAlias

__all__ = [
    "APPLICATION_ID",
    "PUT_CHUNKS",
    "PUT_DELAYED",
    "PUT_GROUPS",
    "PUT_KEPT",
    "PUT_RECENT",
    "PUT_SHARES",
    "PUT_TOPICS",
    "REMOVE_CHUNKS",
    "REMOVE_DELAYED",
    "REMOVE_GROUPS",
    "REMOVE_KEPT",
    "REMOVE_RECENT",
    "REMOVE_TOPICS",
    "TABLES",
    "VERSION",
    "Statement",
]

Statement: TypeAlias = tuple[str, str]
"""What stands before its rows, and what stands behind them."""

APPLICATION_ID: Final = int.from_bytes(b"gstm", "big")
"""What SQLite's header says the file is for."""
VERSION: Final = 1
"""Of the tables, in SQLite's ``user_version``; a server reads no other."""

TABLES: Final = (
    """\
CREATE TABLE topics (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  partitions INTEGER NOT NULL,
  retain_bytes INTEGER,
  retain_seconds REAL
)""",
    """\
CREATE TABLE groups (
  id INTEGER PRIMARY KEY,
  topic INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
  name TEXT NOT NULL,
  UNIQUE (topic, name)
)""",
    """\
CREATE TABLE shares (
  id INTEGER PRIMARY KEY,
  of_group INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
  partition INTEGER NOT NULL,
  low INTEGER,
  UNIQUE (of_group, partition)
)""",
    """\
CREATE TABLE chunks (
  share INTEGER NOT NULL REFERENCES shares ON DELETE CASCADE,
  number INTEGER NOT NULL,
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
  data BLOB NOT NULL,
  PRIMARY KEY (topic, number)
)""",
    """\
CREATE TABLE recent (
  topic INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
  id BLOB NOT NULL,
  message INTEGER,
  time_ms INTEGER NOT NULL,
  PRIMARY KEY (topic, id)
)""",
)
"""The statements that make the tables."""


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
    "INSERT INTO topics (id, name, partitions, retain_bytes, retain_seconds) VALUES",
    (
        " ON CONFLICT (id) DO UPDATE SET partitions = excluded.partitions, retain_bytes = excluded.retain_bytes,"
        " retain_seconds = excluded.retain_seconds"
    ),
)
REMOVE_GROUPS: Final = ("DELETE FROM groups WHERE id IN (VALUES", ")")
PUT_GROUPS: Final = ("INSERT INTO groups (id, topic, name) VALUES", "")
PUT_SHARES: Final = (
    "INSERT INTO shares (id, of_group, partition, low) VALUES",
    " ON CONFLICT (id) DO UPDATE SET low = excluded.low",
)
REMOVE_CHUNKS: Final = _remove("chunks", "share", "number")
PUT_CHUNKS: Final = (
    "INSERT INTO chunks (share, number, states) VALUES",
    " ON CONFLICT (share, number) DO UPDATE SET states = excluded.states",
)
REMOVE_KEPT: Final = _remove("kept", "share", "message")
PUT_KEPT: Final = (
    "INSERT INTO kept (share, message, attempt, due_ms, time_ms, kind, data) VALUES",
    (
        " ON CONFLICT (share, message) DO UPDATE SET attempt = excluded.attempt, due_ms = excluded.due_ms,"
        " time_ms = excluded.time_ms, kind = excluded.kind, data = excluded.data"
    ),
)
REMOVE_DELAYED: Final = _remove("delayed", "topic", "number")
PUT_DELAYED: Final = (
    "INSERT INTO delayed (topic, number, partition, due_ms, id, kind, data) VALUES",
    (
        " ON CONFLICT (topic, number) DO UPDATE SET partition = excluded.partition, due_ms = excluded.due_ms,"
        " id = excluded.id, kind = excluded.kind, data = excluded.data"
    ),
)
REMOVE_RECENT: Final = _remove("recent", "topic", "id")
PUT_RECENT: Final = (
    "INSERT INTO recent (topic, id, message, time_ms) VALUES",
    " ON CONFLICT (topic, id) DO UPDATE SET message = excluded.message, time_ms = excluded.time_ms",
)
