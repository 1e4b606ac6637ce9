"""The state of groups on disk: ``meta.db``, in SQLite, with the tables of docs/format.md.

What has changed is written in one transaction. A statement writes as many rows as it can: each step of SQLite gives
the interpreter's lock away, and whoever keeps a thread busy gives it back after 5 ms; a thousand rows one by one took
5 s beside a busy thread, all at once they take 50 ms. For the same reason nothing is compressed here.

Knows no topic, no group and no clock. Blocks, and raises StorageError; may be called from any thread, one at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any, Final, TypeAlias

from gstream.errors import DamagedError, DiskFullError, StorageError, VersionError
from gstream.storage import tables
from gstream.storage.changes import Changes, DelayedMessage, GroupKey, KeptMessage, Saved, ShareKey, TopicRow
from gstream.storage.files import storage_error

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

_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
"""The latter: a file could not be made a byte longer."""
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""The last one: our statements are right, so the tables are not."""
_PRIMARY: Final = 0xFF
"""What a code means; the rest of it tells where."""

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
    the file.

    Opening reads all of it. Raises VersionError, DamagedError, DiskFullError, StorageError.
    """

    def __init__(self, path: str, *, sync: bool) -> None:
        self.path = path
        self._ids: _Ids | None = None
        with self._errors():
            # SQLite would make a file that everybody may read, and there are messages in it.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
            self._connection = sqlite3.connect(
                path, _BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
            )
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
        """All that is stored. Raises DamagedError, StorageError."""
        with self._errors():
            return self._load(_Ids(self._connection))

    def write(self, changes: Changes) -> None:
        """Store all of these changes, or none of them if it raises.

        Raises DiskFullError, DamagedError, StorageError, after all of which it may be tried again (what could not be
        synced may be there after a crash all the same); ValueError if something is of a topic that is not there.
        """
        if not changes:
            return
        with self._errors():
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
        if self._pragma("application_id") == tables.APPLICATION_ID:
            version = self._pragma("user_version")
            if version != tables.VERSION:
                raise VersionError(f"{self.path}: has version {version}, this gstream reads {tables.VERSION}")
        elif self._pragma("schema_version"):
            raise VersionError(f"{self.path}: not a file of gstream's; move it away")
        else:
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
        found = self._pragma("quick_check(1)")
        if found != "ok":
            raise self._damaged(str(found))
        if self._pragma("foreign_key_check"):
            raise self._damaged("it tells of what is not in it")

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

    def _damaged(self, why: str) -> DamagedError:
        text = f"{self.path}: damaged ({' '.join(why.split())}); move it away, and groups start at the oldest message"
        return DamagedError(text)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(error, self.path) from error
        except UnicodeDecodeError as error:  # a message of SQLite's that quotes what it has read
            raise self._damaged("its tables cannot be read") from error
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError) and type(error) is not sqlite3.DatabaseError:
                raise  # a constraint, or the wrong use of the module: a bug
            # Text that is no UTF-8 has no code: the module finds it.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if code in _FULL:
                raise DiskFullError(f"{self.path}: {error}") from error
            if code & _PRIMARY in _DAMAGED:
                raise self._damaged(str(error)) from error
            raise StorageError(f"{self.path}: {error}") from error

    # --- the tables

    def _load(self, ids: _Ids) -> Saved:
        find = self._connection.execute
        topics = {id: name for name, id in ids.topics.items()}
        shares = {id: key for key, id in ids.shares.items()}
        saved = Saved(groups=list(ids.groups))
        for name, *settings in find("SELECT name, partitions, retain_bytes, retain_seconds FROM topics"):
            saved.topics[name] = TopicRow(*settings)
        for share, low in find("SELECT id, low FROM shares WHERE low IS NOT NULL"):
            saved.lows[shares[share]] = low
        for share, number, states in find("SELECT share, number, states FROM chunks"):
            saved.chunks[*shares[share], number] = states
        for share, message, *kept in find("SELECT share, message, attempt, due_ms, time_ms, kind, data FROM kept"):
            saved.kept[*shares[share], message] = KeptMessage(*kept)
        for topic, number, *delayed in find("SELECT topic, number, partition, due_ms, id, kind, data FROM delayed"):
            saved.delayed[topics[topic], number] = DelayedMessage(*delayed)
        for topic, id, message, time_ms in find("SELECT topic, id, message, time_ms FROM recent ORDER BY time_ms"):
            saved.recent[topics[topic], id] = message, time_ms
        return saved

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
        chunks = [(key, states) for key, states in changes.chunks.items() if states is not None]
        self._run(tables.PUT_CHUNKS, [(shares[key[:3]], key[3], states) for key, states in chunks])
        removed = [key for key, message in changes.kept.items() if message is None]
        self._run(tables.REMOVE_KEPT, [(shares[key[:3]], key[3]) for key in removed if key[:3] in shares])
        kept = [(shares[key[:3]], key[3], each) for key, each in changes.kept.items() if each is not None]
        self._run(tables.PUT_KEPT, [(*key, m.attempt, m.due_ms, m.time_ms, m.kind, m.data) for *key, m in kept])
        gone = [key for key, message in changes.delayed.items() if message is None]
        self._run(tables.REMOVE_DELAYED, [(topics[topic], number) for topic, number in gone if topic in topics])
        delayed = [(ids.topic(key[0]), key[1], each) for key, each in changes.delayed.items() if each is not None]
        self._run(tables.PUT_DELAYED, [(*key, m.partition, m.due_ms, m.id, m.kind, m.data) for *key, m in delayed])
        forgotten = [key for key, known in changes.recent.items() if known is None]
        self._run(tables.REMOVE_RECENT, [(topics[topic], id) for topic, id in forgotten if topic in topics])
        recent = [(key, known) for key, known in changes.recent.items() if known is not None]
        self._run(tables.PUT_RECENT, [(ids.topic(topic), id, *known) for (topic, id), known in recent])

    def _put_topics(self, topics: dict[str, TopicRow], ids: _Ids) -> None:
        rows = []
        for name, row in topics.items():
            id = ids.topics.get(name)
            if id is None:
                id = ids.topics[name] = ids.new()
            rows.append((id, name, row.partitions, row.retain_bytes, row.retain_seconds))
        self._run(tables.PUT_TOPICS, rows)

    def _put_groups(self, changes: Changes, ids: _Ids) -> None:
        rows = []
        for topic, name in (*changes.groups, *(key[:2] for key in changes.share_keys())):
            if (topic, name) not in ids.groups:
                id = ids.groups[topic, name] = ids.new()
                rows.append((id, ids.topic(topic), name))
        self._run(tables.PUT_GROUPS, rows)

    def _put_shares(self, changes: Changes, ids: _Ids) -> None:
        rows = []
        for key in dict.fromkeys(changes.share_keys()):
            id = ids.shares.get(key)
            if id is None:
                id = ids.shares[key] = ids.new()
            elif key not in changes.lows:
                continue
            rows.append((id, ids.groups[key[:2]], key[2], changes.lows.get(key)))
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
