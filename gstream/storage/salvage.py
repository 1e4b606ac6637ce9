"""What is stored in ``meta.db``, as far as it can be believed.

SQLite's pages have no checksums, but our rows have; and each row's key stands twice, in its table and in an index. So
what one fault has changed, or taken away, is found. What may be lost without a message being lost (what a group has
done, ids) is lost, and said to be; where that is not known, the whole file is refused.

Changes nothing. Blocks; raises StorageError, and VersionError for the file of another version.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from gstream.errors import DamagedError, DiskFullError, StorageError, VersionError
from gstream.storage import tables
from gstream.storage.changes import (
    CHUNK_MESSAGES,
    DONE,
    Changes,
    DelayedMessage,
    KeptMessage,
    Saved,
    ShareKey,
    TopicRow,
)
from gstream.storage.files import storage_error
from gstream.storage.finding import Finding, Kind

__all__ = ["Salvaged", "check", "errors", "read", "text_of", "verify", "version_of"]

_FIRM: Final = ("topics", "groups", "shares", "kept", "delayed", "facts")
"""A row that is missing here may cost messages: a group that is not known does not keep the log's, and one of Kafka's
whose offset is not known may begin at the end."""
_SOFT: Final = {
    "chunks": "what is missing there counts as not delivered",
    "recent": "what is published again under the ids that are missing there comes twice",
}
"""And here it does not."""

_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
"""The latter: a file could not be made a byte longer."""
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""The last one: our statements are right, so the tables are not."""
_PRIMARY: Final = 0xFF
"""What a code means; the rest of it tells where."""

_WRONG: Final = (struct.error, TypeError, AttributeError, ValueError)
"""What is raised when a checksum is wanted of values that are not of their columns' types."""


@dataclass(slots=True)
class Salvaged:
    """What was found.

    rewritten: tables that are to be emptied before ``repair`` is written. keep_aside: there are messages in what is
    removed by it.
    """

    saved: Saved = field(default_factory=Saved)
    findings: list[Finding] = field(default_factory=list)
    repair: Changes = field(default_factory=Changes)
    rewritten: list[str] = field(default_factory=list)
    keep_aside: bool = False


def text_of(raw: bytes) -> str:
    """Text of the file's; what is none is not in the way of the rows behind it, and has a wrong checksum."""
    return raw.decode("utf-8", "surrogateescape")


def _damaged(path: str, why: str) -> DamagedError:
    return DamagedError(
        f"{path}: damaged ({' '.join(why.split())}); move it away, and groups start at the oldest message"
    )


@contextmanager
def errors(path: str) -> Iterator[None]:
    """Raises what SQLite raises as StorageError; but a constraint, or the wrong use of the module, which is a bug."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error
    except UnicodeDecodeError as error:  # a message of SQLite's that quotes what it has read
        raise _damaged(path, "its tables cannot be read") from error
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError) and type(error) is not sqlite3.DatabaseError:
            raise
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code in _FULL:
            raise DiskFullError(f"{path}: {error}") from error
        if code & _PRIMARY in _DAMAGED:
            raise _damaged(path, str(error)) from error
        raise StorageError(f"{path}: {error}") from error


# --- the file


def _first(connection: sqlite3.Connection, statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    return row[0] if row else None


def version_of(connection: sqlite3.Connection, path: str) -> int | None:
    """The version of our tables in it; None: nothing is in it. Raises VersionError if something else is."""
    if _first(connection, "PRAGMA application_id") == tables.APPLICATION_ID:
        version = _first(connection, "PRAGMA user_version")
        if version not in tables.VERSIONS:
            known = " and ".join(map(str, tables.VERSIONS))
            raise VersionError(f"{path}: has version {version}, this gstream reads {known}")
        return int(version)
    if _first(connection, "PRAGMA schema_version"):
        raise VersionError(f"{path}: not a file of gstream's; move it away")
    return None


def check(connection: sqlite3.Connection, path: str, version: int) -> None:
    """The file's structure, and that no row is missing where that may cost messages. Raises DamagedError.

    For 200 MiB with a million ids it takes half a second; then all of it is read in four.
    """
    found = _first(connection, "PRAGMA quick_check(1)")
    if found != "ok":
        raise _damaged(path, str(found))
    there = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    if {sql for (sql,) in there} != set(tables.VERSIONS[version]):
        raise _damaged(path, "its tables are not those of gstream")
    for table in _FIRM:
        if table == "facts" and version == 1:
            continue
        found = _first(connection, f"PRAGMA integrity_check({table})")
        if found != "ok":
            raise _damaged(path, str(found))
        if connection.execute(f"PRAGMA foreign_key_check({table})").fetchone():
            raise _damaged(path, "it tells of what is not in it")


# --- the rows


def read(connection: sqlite3.Connection, path: str, version: int = tables.VERSION) -> Salvaged:
    """All that is stored and believed, after :func:`check`. Raises DamagedError."""
    reader = _Reader(connection, path)
    reader.read()
    if version > 1:
        reader.read_facts()
    return reader.found


def _fits(checksum: Callable[..., int], row: list[Any], crc: object) -> bool:
    try:
        return checksum(*row) == crc
    except _WRONG:
        return False


class _Reader:
    """Reads the tables one after the other."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self.found = Salvaged()
        self._saved = self.found.saved
        self._connection = connection
        self._path = path
        self._topics: dict[int, str] = {}
        self._shares: dict[int, ShareKey] = {}
        self._doubted: dict[ShareKey, list[int]] = {}
        """Of whom something is not believed, and the messages of theirs that were kept and are not any more."""

    def read(self) -> None:
        broken = {table for table in _SOFT if _first(self._connection, f"PRAGMA integrity_check({table})") != "ok"}
        self._read_names()
        if not self._read_chunks():
            broken.add("chunks")
        self._read_kept()
        lost_of = self._read_delayed()
        if not self._read_recent(lost_of):
            broken.add("recent")
        for share, lost in self._doubted.items():
            self._fall_back(share, lost)
        for table in sorted(broken):
            self._tell(f"the table {table}: rows are damaged or gone, and {_SOFT[table]}")
            self.found.rewritten.append(table)
        if "chunks" in broken:
            self.found.repair.chunks.update(self._saved.chunks)
        if "recent" in broken:
            self.found.repair.recent.update(self._saved.recent)

    def read_facts(self) -> None:
        """The facts, which are not in version 1."""
        for crc, *row in self._rows("name, value", "facts"):
            if not _fits(tables.checksum_of_fact, row, crc):
                raise _damaged(self._path, f"a fact is not what was written: {row[0]!r}")
            name, value = row
            self._saved.facts[name] = value

    def _tell(self, text: str) -> None:
        self.found.findings.append(Finding(Kind.DAMAGED, self._path, text))

    def _rows(self, columns: str, table: str) -> Iterator[tuple[Any, ...]]:
        return self._connection.execute(f"SELECT crc, {columns} FROM {table}")  # noqa: S608  # names of our own

    def _read_names(self) -> None:
        for crc, *row in self._rows("id, name, partitions, retain_bytes, retain_seconds", "topics"):
            if not _fits(tables.checksum_of_topic, row, crc):
                raise _damaged(self._path, "a topic is not what was written")
            id, name, *settings = row
            self._topics[id] = name
            self._saved.topics[name] = TopicRow(*settings)
        groups = {}
        for crc, *row in self._rows("id, topic, name", "groups"):
            if not _fits(tables.checksum_of_group, row, crc):
                raise _damaged(self._path, "a group is not what was written")
            id, topic, name = row
            groups[id] = (self._topics[topic], name)
        self._saved.groups += groups.values()
        for crc, *row in self._rows("id, of_group, partition, low", "shares"):
            id, group, partition, low = row
            key = self._shares[id] = (*groups[group], partition)  # as the index says, too
            if not _fits(tables.checksum_of_share, row, crc):
                self._tell(f"{_name(key)}: how far it had come is not known; it starts at the oldest message")
                self._doubted[key] = []
                self._saved.lows[key] = 0
            elif low is not None:
                self._saved.lows[key] = low

    def _read_chunks(self) -> bool:
        """Whether all of it is believed."""
        is_sound = True
        for crc, *row in self._rows("share, number, states", "chunks"):
            share, number, states = row
            key = self._shares.get(share)
            if key is not None and (*key, number) not in self._saved.chunks:
                if _fits(tables.checksum_of_chunk, row, crc):
                    self._saved.chunks[*key, number] = states
                    continue
                self._doubted.setdefault(key, [])
                if isinstance(number, int):
                    first = number * CHUNK_MESSAGES
                    messages = f"messages {first} to {first + CHUNK_MESSAGES - 1}"
                    self._tell(f"{_name(key)}: what it had done of {messages} is not known; they come again")
            is_sound = False
        return is_sound

    def _read_kept(self) -> None:
        columns = "share, message, attempt, due_ms, time_ms, kind, data"
        for crc, *row in self._rows(columns, "kept"):
            share, offset, *kept = row
            key = self._shares[share]
            if _fits(tables.checksum_of_kept, row, crc):
                self._saved.kept[*key, offset] = KeptMessage(*kept)
                continue
            self._tell(f"{_name(key)}: message {offset}, kept to come again, is damaged; if its log has it, it comes")
            self._doubted.setdefault(key, []).append(offset)
            self.found.repair.kept[*key, offset] = None
            self.found.keep_aside = True

    def _read_delayed(self) -> set[str]:
        """Topics of which not all is believed."""
        lost_of = set()
        columns = "topic, number, partition, due_ms, id, kind, data"
        for crc, *row in self._rows(columns, "delayed"):
            topic, number, *delayed = row
            name = self._topics[topic]
            if _fits(tables.checksum_of_delayed, row, crc):
                self._saved.delayed[name, number] = DelayedMessage(*delayed)
                continue
            self._tell(f"topic {name}: a delayed message, number {number}, is damaged; it is not published")
            lost_of.add(name)
            self.found.repair.delayed[name, number] = None
            self.found.keep_aside = True
        return lost_of

    def _read_recent(self, lost_of: set[str]) -> bool:
        """Whether all of it is believed. lost_of: topics whose delayed messages may be published once more."""
        is_sound = True
        waiting = {(name, each.id) for (name, _), each in self._saved.delayed.items()}
        for crc, *row in self._rows("topic, id, message, time_ms", "recent ORDER BY time_ms"):
            topic, id, message, time_ms = row
            name = self._topics.get(topic)
            if name is None or not _fits(tables.checksum_of_recent, row, crc):
                is_sound = False
            elif message is None and name in lost_of and (name, id) not in waiting:
                self.found.repair.recent[name, id] = None
            else:
                self._saved.recent[name, id] = message, time_ms
        return is_sound

    def _fall_back(self, share: ShareKey, lost: list[int]) -> None:
        """Let the group have again what is doubted, as far as the log has it.

        lost: messages that were kept. The log has counted those that are kept as done, and that must stay so.
        """
        saved, repair = self._saved, self.found.repair
        states = dict.fromkeys(lost, 0)
        if lost:
            saved.lows[share] = min(saved.lows.get(share, 0), *lost)
        low = saved.lows.get(share, 0)
        states.update({key[3]: DONE for key in saved.kept if key[:3] == share and key[3] >= low})
        for offset, state in states.items():
            key = (*share, offset // CHUNK_MESSAGES)
            chunk = bytearray(saved.chunks.get(key, b"").ljust(CHUNK_MESSAGES, b"\0"))
            chunk[offset % CHUNK_MESSAGES] = state
            saved.chunks[key] = repair.chunks[key] = bytes(chunk)
        if share in saved.lows:
            repair.lows[share] = saved.lows[share]


def _name(share: ShareKey) -> str:
    topic, group, partition = share
    return f"topic {topic}, group {group}, partition {partition}"


# --- for those who do not own it


def verify(path: str) -> list[Finding]:
    """All that is not as it should be in the file, which need not be there; a server may be using it.

    Raises StorageError if it cannot be read.
    """
    while True:
        if not os.path.exists(path):
            return []
        # A server has a log of changes, and without one nobody has the file: then nothing needs to be made beside it.
        is_used = os.path.exists(f"{path}-wal")
        found = _verify(path, "mode=ro" if is_used else "mode=ro&immutable=1")
        if is_used or not found or not os.path.exists(f"{path}-wal"):
            return found


def _verify(path: str, how: str) -> list[Finding]:
    try:
        with errors(path):
            connection = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{how}", uri=True, isolation_level=None)
            connection.text_factory = text_of
            try:
                connection.execute("BEGIN")  # all of it as it is at one time
                version = version_of(connection, path)
                if version is None:
                    return []
                check(connection, path, version)
                return read(connection, path, version).findings
            finally:
                with suppress(sqlite3.Error):
                    connection.close()
    except (DamagedError, VersionError) as error:
        text = str(error).removeprefix(f"{path}: ").removeprefix("damaged ")
        return [Finding(Kind.DAMAGED, path, text)]
