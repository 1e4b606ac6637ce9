"""The state of groups on disk: ``meta.db``, in SQLite, with the tables of docs/format.md.

What has changed is written in one transaction. A statement writes as many rows as it can: each step of SQLite gives
the interpreter's lock away, and whoever keeps a thread busy gives it back after 5 ms; a thousand rows one by one took
5 s beside a busy thread, all at once they take 50 ms. For the same reason nothing is compressed here.

Each row has a checksum. What is read, and how far it is believed, is salvage.py's.

Knows no topic, no group and no clock. Blocks, and raises StorageError; may be called from any thread, one at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any, Final, TypeAlias

from gstream.storage import salvage, tables
from gstream.storage.changes import Changes, DelayedMessage, GroupKey, KeptMessage, Saved, ShareKey, TopicRow
from gstream.storage.finding import Finding, Kind, Report

__all__ = ["META", "Changes", "DelayedMessage", "KeptMessage", "Meta", "Saved", "TopicRow"]

META: Final = "meta.db"
"""The file's name in the data directory."""
_CHECKPOINT_PAGES: Final = 1000
"""When the log of changes has so many pages of 4 KiB, they are put into the file."""
_MAX_LOG_BYTES: Final = 4 << 20
"""A log that one large change made longer is cut to this when it begins anew."""
_BUSY_SECONDS: Final = 1.0
"""Only people with a shell of SQLite's own are ever in the way."""
_MAX_VALUES: Final = 8192
"""In one statement: 2,000 rows of four take 2 ms, and one wait for the interpreter's lock."""
_MAX_STATEMENT_BYTES: Final = 1 << 20
"""Of blobs in one statement, which are copied for it."""
_STATEMENTS: Final = 32
"""Kept ready, of every table and number of rows."""

_Row: TypeAlias = tuple[Any, ...]


class _Ids:
    """The numbers that stand for names in the tables."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        find = connection.execute
        self.topics: dict[str, int] = dict(find("SELECT name, id FROM topics"))
        names = {id: name for name, id in self.topics.items()}
        rows = find("SELECT topic, name, id FROM groups").fetchall()
        self.groups: dict[GroupKey, int] = {(names[topic], name): id for topic, name, id in rows}
        keys = {id: key for key, id in self.groups.items()}
        rows = find("SELECT of_group, partition, id FROM shares").fetchall()
        self.shares: dict[ShareKey, int] = {(*keys[group], partition): id for group, partition, id in rows}
        self._last = max((*self.topics.values(), *self.groups.values(), *self.shares.values()), default=0)

    def new(self) -> int:
        self._last += 1
        return self._last

    def topic(self, name: str) -> int:
        id = self.topics.get(name)
        if id is None:
            raise ValueError(f"something of a topic that is not there: {name}")
        return id

    def remove_topics(self, names: Iterable[str]) -> list[int]:
        """Forget them and their groups; the numbers that they had."""
        removed = {name: self.topics.pop(name) for name in names if name in self.topics}
        if removed:
            self.groups = {key: id for key, id in self.groups.items() if key[0] not in removed}
            self.shares = {key: id for key, id in self.shares.items() if key[0] not in removed}
        return list(removed.values())

    def remove_groups(self, keys: Iterable[GroupKey]) -> list[int]:
        """Forget them; the numbers that they had."""
        removed = {key: self.groups.pop(key) for key in keys if key in self.groups}
        if removed:
            self.shares = {key: id for key, id in self.shares.items() if key[:2] not in removed}
        return list(removed.values())


class Meta:
    """The file, open until it is closed; it is made if it does not exist.

    sync: what was written is on disk when :meth:`write` returns; else the system has it, and no loss of power damages
    the file. report: is told what is damaged, and yet no reason to refuse the file.

    Opening reads all of it. Raises VersionError, DamagedError, DiskFullError, StorageError.
    """

    def __init__(self, path: str, *, sync: bool, report: Report = lambda _: None) -> None:
        self.path = path
        self._report = report
        self._ids: _Ids | None = None
        with salvage.errors(path):
            # SQLite would make a file that everybody may read, and there are messages in it.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
            self._connection = sqlite3.connect(
                path, _BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
            )
            self._connection.text_factory = salvage.text_of
            try:
                self._open(sync)
            except BaseException:
                self._connection.close()
                raise
        limit = self._connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)  # 999 before SQLite 3.32
        self._max_values = min(_MAX_VALUES, limit)

    def __repr__(self) -> str:
        return f"<Meta {self.path}>"

    def close(self) -> None:
        """Put all changes into the one file; nothing else is left, unless another program has it open."""
        self._connection.close()

    @property
    def size(self) -> int:
        """In bytes, with the changes that are not in the file yet."""
        size = 0
        for path in (self.path, f"{self.path}-wal"):
            with suppress(FileNotFoundError):
                size += os.stat(path).st_size
        return size

    def load(self) -> Saved:
        """All that is stored and can be believed; what cannot is reported, and removed.

        Raises DamagedError if that would cost messages, DiskFullError, StorageError.
        """
        with salvage.errors(self.path):
            found = salvage.read(self._connection, self.path)
            for finding in found.findings:
                self._report(finding)
            if found.keep_aside:
                self._keep_aside()
            if found.rewritten or found.repair:
                self._repair(found)
        return found.saved

    def _repair(self, found: salvage.Salvaged) -> None:
        self._ids = None
        # With foreign keys, rows are removed one by one, and each is looked for in an index that may not have it.
        self._pragma("foreign_keys = OFF")
        try:
            with self._transaction():
                for table in found.rewritten:
                    self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  # a name of our own
                self._apply(found.repair, _Ids(self._connection))
        finally:
            self._pragma("foreign_keys = ON")

    def _keep_aside(self) -> None:
        """Copy all of it to a file for people, unless there is one."""
        aside = f"{self.path}.damaged"
        try:
            os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
        except FileExistsError:
            return
        try:
            self._connection.execute("VACUUM INTO ?", (aside,))
        except BaseException:
            os.remove(aside)
            raise
        self._report(Finding(Kind.KEPT_ASIDE, aside, "a copy of what was found, with the damaged messages"))

    def write(self, changes: Changes) -> None:
        """Store all of these changes, or none of them if it raises.

        Raises DiskFullError, DamagedError, StorageError, after all of which it may be tried again (what could not be
        synced may be there after a crash all the same); ValueError if something is of a topic that is not there.
        """
        if not changes:
            return
        with salvage.errors(self.path):
            try:
                with self._transaction():
                    self._ids = self._ids or _Ids(self._connection)
                    self._apply(changes, self._ids)
            except BaseException:
                self._ids = None  # it may know of what was not stored
                raise

    # --- the file

    def _open(self, sync: bool) -> None:
        """Look before anything is changed: the file may be somebody else's."""
        version = salvage.version_of(self._connection, self.path)
        if version is None:
            version = tables.VERSION
            self._pragma("journal_mode = WAL")
            with self._transaction():
                for table in tables.TABLES:
                    self._connection.execute(table)
                self._pragma(f"application_id = {tables.APPLICATION_ID}")
                self._pragma(f"user_version = {tables.VERSION}")
        self._pragma("journal_mode = WAL")
        self._pragma(f"synchronous = {'FULL' if sync else 'NORMAL'}")
        self._pragma(f"wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        self._pragma(f"journal_size_limit = {_MAX_LOG_BYTES}")
        self._pragma("foreign_keys = ON")
        salvage.check(self._connection, self.path, version)
        # With one flipped bit in the file's header, SQLite only reads it: that must not be met by the first change.
        self._connection.execute("BEGIN")
        try:
            self._pragma(f"user_version = {tables.VERSION}")
        finally:
            self._connection.execute("ROLLBACK")  # so it takes no room
        if version != tables.VERSION:
            with self._transaction():
                for table in tables.UPGRADE:
                    self._connection.execute(table)
                self._pragma(f"user_version = {tables.VERSION}")

    def _pragma(self, text: str) -> object:
        row = self._connection.execute(f"PRAGMA {text}").fetchone()
        return row[0] if row else None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite may have rolled it back itself
                self._connection.execute("ROLLBACK")
            raise

    # --- the tables

    def _apply(self, changes: Changes, ids: _Ids) -> None:
        self._run(tables.REMOVE_TOPICS, [(id,) for id in ids.remove_topics(changes.removed_topics)])
        self._put_topics(changes.topics, ids)
        self._run(tables.REMOVE_GROUPS, [(id,) for id in ids.remove_groups(changes.removed_groups)])
        self._put_groups(changes, ids)
        self._put_shares(changes, ids)
        # Of a topic, a group or a share that is not there, there is nothing to remove.
        shares, topics = ids.shares, ids.topics
        removed = [key for key, states in changes.chunks.items() if states is None]
        self._run(tables.REMOVE_CHUNKS, [(shares[key[:3]], key[3]) for key in removed if key[:3] in shares])
        chunks = [(shares[key[:3]], key[3], states) for key, states in changes.chunks.items() if states is not None]
        checksum = tables.checksum_of_chunk
        self._run(tables.PUT_CHUNKS, [(id, n, checksum(id, n, states), states) for id, n, states in chunks])
        removed = [key for key, message in changes.kept.items() if message is None]
        self._run(tables.REMOVE_KEPT, [(shares[key[:3]], key[3]) for key in removed if key[:3] in shares])
        kept = [(shares[key[:3]], key[3], each) for key, each in changes.kept.items() if each is not None]
        rows: list[_Row] = [(*key, m.attempt, m.due_ms, m.time_ms, m.kind, m.data) for *key, m in kept]
        self._run(tables.PUT_KEPT, [(*row[:-1], tables.checksum_of_kept(*row), row[-1]) for row in rows])
        gone = [key for key, message in changes.delayed.items() if message is None]
        self._run(tables.REMOVE_DELAYED, [(topics[topic], number) for topic, number in gone if topic in topics])
        delayed = [(ids.topic(key[0]), key[1], each) for key, each in changes.delayed.items() if each is not None]
        rows = [(*key, m.partition, m.due_ms, m.id, m.kind, m.data) for *key, m in delayed]
        self._run(tables.PUT_DELAYED, [(*row[:-1], tables.checksum_of_delayed(*row), row[-1]) for row in rows])
        forgotten = [key for key, known in changes.recent.items() if known is None]
        self._run(tables.REMOVE_RECENT, [(topics[topic], id) for topic, id in forgotten if topic in topics])
        known = [
            (ids.topic(topic), id, *answer) for (topic, id), answer in changes.recent.items() if answer is not None
        ]
        checksum_of_id = tables.checksum_of_recent
        self._run(tables.PUT_RECENT, [(of, id, n, ms, checksum_of_id(of, id, n, ms)) for of, id, n, ms in known])
        self._run(tables.REMOVE_FACTS, [(name,) for name, value in changes.facts.items() if value is None])
        facts = [(name, value) for name, value in changes.facts.items() if value is not None]
        self._run(tables.PUT_FACTS, [(name, tables.checksum_of_fact(name, value), value) for name, value in facts])

    def _put_topics(self, topics: dict[str, TopicRow], ids: _Ids) -> None:
        rows = []
        for name, row in topics.items():
            id = ids.topics.get(name)
            if id is None:
                id = ids.topics[name] = ids.new()
            values = (id, name, row.partitions, row.retain_bytes, row.retain_seconds)
            rows.append((*values, tables.checksum_of_topic(*values)))
        self._run(tables.PUT_TOPICS, rows)

    def _put_groups(self, changes: Changes, ids: _Ids) -> None:
        rows = []
        for topic, name in (*changes.groups, *(key[:2] for key in changes.share_keys())):
            if (topic, name) not in ids.groups:
                id = ids.groups[topic, name] = ids.new()
                of_topic = ids.topic(topic)
                rows.append((id, of_topic, name, tables.checksum_of_group(id, of_topic, name)))
        self._run(tables.PUT_GROUPS, rows)

    def _put_shares(self, changes: Changes, ids: _Ids) -> None:
        rows = []
        for key in dict.fromkeys(changes.share_keys()):
            id = ids.shares.get(key)
            if id is None:
                id = ids.shares[key] = ids.new()
            elif key not in changes.lows:
                continue
            values = (id, ids.groups[key[:2]], key[2], changes.lows.get(key))
            rows.append((*values, tables.checksum_of_share(*values)))
        self._run(tables.PUT_SHARES, rows)

    def _run(self, statement: tables.Statement, rows: list[_Row]) -> None:
        """Do this with all rows, which are equally long, in as few steps as possible."""
        before, behind = statement
        for piece in _pieces(rows, self._max_values):
            row = f"({', '.join('?' * len(piece[0]))})"
            values = list(chain.from_iterable(piece))
            self._connection.execute(f"{before} {', '.join([row] * len(piece))}{behind}", values)


def _pieces(rows: Sequence[_Row], max_values: int) -> Iterator[Sequence[_Row]]:
    """The rows, so many as one statement takes. Large blobs stand last in their rows."""
    if not rows:
        return
    most = max_values // len(rows[0])
    first = size = 0
    for at, row in enumerate(rows):
        size += len(row[-1]) if isinstance(row[-1], bytes) else 0
        if at - first == most or (size > _MAX_STATEMENT_BYTES and at > first):
            yield rows[first:at]
            first, size = at, len(row[-1]) if isinstance(row[-1], bytes) else 0
    yield rows[first:]
