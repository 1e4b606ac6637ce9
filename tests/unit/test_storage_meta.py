from __future__ import annotations

import copy
import os
import re
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gstream.errors import DamagedError, DiskFullError, StorageError, VersionError
from gstream.storage import tables
from gstream.storage.meta import META, Changes, DelayedMessage, KeptMessage, Meta, Saved, TopicRow

DOCUMENT = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
STATES = bytes([255] * 9 + [1]) * 102 + bytes(4)
KEPT = KeptMessage(2, 1764020030000, 1764020000000, ord("p"), b"pHello\n")
DELAYED = DelayedMessage(0, 1764020030000, b"once", ord("P"), b"\0\1")
EVERYTHING = Changes(
    topics={"news": TopicRow(2, 1 << 30, 0.5), "jobs": TopicRow(1)},
    groups=[("news", "default"), ("jobs", "idle")],
    lows={("news", "default", 0): 7, ("news", "default", 1): (1 << 48) - 1},
    chunks={("news", "default", 0, 0): STATES, ("news", "default", 1, 1 << 38): b"\1"},
    kept={("news", "default", 0, 3): KEPT},
    delayed={("jobs", 1): DELAYED},
    recent={("jobs", b"\xff\0"): (32767 << 48 | 5, 1764020000001), ("jobs", b"once"): (None, 1764020000000)},
    facts={"cluster": b"\xff\0", "topic/new s/ä": b""},
)


class World:
    """What a file is to hold, in dicts."""

    def __init__(self):
        self.saved = Saved()
        self.given = set()

    def write(self, changes):
        saved = self.saved
        self.given = {key for key in self.given if key[0] not in changes.removed_topics}
        self.given.update(key for key, value in changes.delayed.items() if value is not None)
        for name in changes.removed_topics:
            saved.topics.pop(name, None)
            self._remove(lambda key, name=name: key[0] == name)
            for rows in (saved.delayed, saved.recent):
                for key in [key for key in rows if key[0] == name]:
                    del rows[key]
        saved.topics.update(changes.topics)
        for group in changes.removed_groups:
            self._remove(lambda key, group=group: key[:2] == group)
        for group in changes.groups:
            self._make(group)
        for name in ("lows", "chunks", "kept", "delayed", "recent"):
            rows = getattr(saved, name)
            for key, value in getattr(changes, name).items():
                if value is None:
                    rows.pop(key, None)
                    continue
                rows[key] = value
                if name in {"lows", "chunks", "kept"}:
                    self._make(key[:2])
        saved.facts.update({name: value for name, value in changes.facts.items() if value is not None})
        for name in [name for name, value in changes.facts.items() if value is None]:
            saved.facts.pop(name, None)

    def _make(self, group):
        if group not in self.saved.groups:
            self.saved.groups.append(group)

    def _remove(self, is_gone):
        saved = self.saved
        saved.groups = [group for group in saved.groups if not is_gone(group)]
        for rows in (saved.lows, saved.chunks, saved.kept):
            for key in [key for key in rows if is_gone(key)]:
                del rows[key]

    @property
    def sorted(self):
        return in_order(self.saved)


def in_order(saved):
    saved = copy.copy(saved)
    saved.groups = sorted(saved.groups)
    return saved


TOPIC = st.sampled_from(["a", "b", "b.dlq"])
GROUP = st.tuples(TOPIC, st.sampled_from(["default", "g"]))
SHARE = st.builds(lambda group, partition: (*group, partition), GROUP, st.integers(0, 1))
PLACE = st.builds(lambda share, number: (*share, number), SHARE, st.integers(0, 2))
OFFSET = st.integers(0, (1 << 48) - 1)
TIME_MS = st.integers(0, 1 << 42)
KIND = st.sampled_from(b"pP")
ROW = st.builds(TopicRow, st.integers(1, 9), st.none() | OFFSET, st.none() | st.floats(0, 1e9))
A_KEPT = st.builds(KeptMessage, st.integers(0, 254), TIME_MS, TIME_MS, KIND, st.binary(max_size=5))
A_DELAYED = st.builds(DelayedMessage, st.integers(0, 9), TIME_MS, st.none() | st.binary(), KIND, st.binary(max_size=5))
A_CHANGE = st.builds(
    Changes,
    removed_topics=st.lists(TOPIC, max_size=1),
    topics=st.dictionaries(TOPIC, ROW, max_size=2),
    removed_groups=st.lists(GROUP, max_size=2),
    groups=st.lists(GROUP, max_size=2),
    lows=st.dictionaries(SHARE, OFFSET, max_size=3),
    chunks=st.dictionaries(PLACE, st.none() | st.binary(max_size=5), max_size=3),
    kept=st.dictionaries(PLACE, st.none() | A_KEPT, max_size=3),
    delayed=st.dictionaries(st.tuples(TOPIC, st.integers(0, 2)), st.none() | A_DELAYED, max_size=3),
    recent=st.dictionaries(
        st.tuples(TOPIC, st.binary(max_size=1)), st.none() | st.tuples(st.none() | OFFSET, TIME_MS), max_size=3
    ),
    facts=st.dictionaries(st.sampled_from(["", "a", "ä\0", "a/b"]), st.none() | st.binary(max_size=5), max_size=3),
)


def fitting(changes, world):
    """The same without what is of a topic that is not there, and without numbers that its topic has given before."""
    topics = (set(world.saved.topics) - set(changes.removed_topics)) | set(changes.topics)
    given = {key for key in world.given if key[0] not in changes.removed_topics}
    changes.delayed = {key: value for key, value in changes.delayed.items() if value is None or key not in given}
    changes.groups = [group for group in changes.groups if group[0] in topics]
    for name in ("lows", "chunks", "kept", "delayed", "recent"):
        rows = getattr(changes, name)
        setattr(changes, name, {key: value for key, value in rows.items() if value is None or key[0] in topics})
    return changes


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / META)


@pytest.fixture
def open_meta(path):
    opened = []

    def open_meta(*, sync=False):
        meta = Meta(path, sync=sync)
        opened.append(meta)
        return meta

    yield open_meta
    for meta in opened:
        meta.close()


def expected(*changes):
    world = World()
    for each in changes:
        world.write(each)
    return world.sorted


# --- what is written is there


def test_a_new_file_is_empty(open_meta):
    meta = open_meta()
    assert meta.load() == Saved()
    assert META in repr(meta)


@pytest.mark.parametrize("sync", [True, False])
def test_everything_is_there_when_it_is_opened_again(open_meta, sync):
    meta = open_meta(sync=sync)
    meta.write(EVERYTHING)
    assert in_order(meta.load()) == expected(EVERYTHING)
    meta.close()
    assert in_order(open_meta().load()) == expected(EVERYTHING)


def test_the_oldest_recent_ids_come_first(open_meta):
    meta = open_meta()
    meta.write(EVERYTHING)
    assert list(meta.load().recent) == [("jobs", b"once"), ("jobs", b"\xff\0")]


def test_what_tells_of_a_group_makes_it_and_says_nothing_of_its_low(open_meta):
    meta = open_meta()
    meta.write(Changes(topics={"a": TopicRow(1)}, chunks={("a", "g", 0, 0): b"\1"}, kept={("a", "h", 1, 5): KEPT}))
    saved = meta.load()
    assert sorted(saved.groups) == [("a", "g"), ("a", "h")]
    assert saved.lows == {}
    meta.write(Changes(lows={("a", "g", 0): 3}))
    meta.write(Changes(chunks={("a", "g", 0, 1): b"\2"}))
    assert meta.load().lows == {("a", "g", 0): 3}


def test_what_is_removed_makes_nothing(open_meta):
    meta = open_meta()
    meta.write(Changes(topics={"a": TopicRow(1)}))
    meta.write(
        Changes(["x"], {}, [("a", "g"), ("x", "g")], chunks={("a", "g", 0, 0): None}, kept={("x", "g", 0, 0): None})
    )
    meta.write(Changes(delayed={("x", 1): None}, recent={("x", b""): None}))
    assert meta.load() == Saved(topics={"a": TopicRow(1)})


@pytest.mark.parametrize(
    "changes",
    [
        Changes(groups=[("x", "g")]),
        Changes(lows={("x", "g", 0): 1}),
        Changes(delayed={("x", 1): DELAYED}),
        Changes(recent={("x", b"1"): (1, 1)}),
        Changes(removed_topics=["news"], kept={("news", "g", 0, 1): KEPT}),
    ],
)
def test_nothing_is_stored_of_a_topic_that_is_not_there(open_meta, changes):
    meta = open_meta()
    meta.write(EVERYTHING)
    changes.topics["other"] = TopicRow(1)
    with pytest.raises(ValueError, match=r"a topic that is not there: (x|news)"):
        meta.write(changes)
    assert in_order(meta.load()) == expected(EVERYTHING)
    meta.write(Changes(lows={("news", "default", 0): 9}))
    assert meta.load().lows["news", "default", 0] == 9


def test_a_topic_that_was_removed_and_made_again_is_a_new_one(open_meta):
    meta = open_meta()
    meta.write(EVERYTHING)
    again = Changes(removed_topics=["news"], topics={"news": TopicRow(3)}, lows={("news", "new", 0): 1})
    meta.write(again)
    assert in_order(meta.load()) == expected(EVERYTHING, again)
    assert meta.load().topics["news"] == TopicRow(3)
    assert ("news", "default") not in meta.load().groups


def test_more_rows_than_a_statement_takes(open_meta):
    many = Changes(
        topics={"a": TopicRow(1)},
        lows={("a", f"g{number}", number % 3): number for number in range(2100)},
        chunks={("a", "g", 0, number): STATES for number in range(3000)},
        kept={("a", "g", 0, number): KeptMessage(1, 2, 3, 112, bytes(100_000)) for number in range(25)},
        recent={("a", b"%d" % number): (number, number) for number in range(10_000)},
        facts={f"a/{number}": b"%d" % number for number in range(10_000)},
    )
    meta = open_meta()
    meta.write(many)
    assert in_order(meta.load()) == expected(many)
    less = Changes(
        removed_groups=[("a", f"g{number}") for number in range(1, 100)],
        chunks={("a", "g", 0, number): None for number in range(1, 3000)},
        kept={("a", "g", 0, 24): KeptMessage(1, 2, 3, 112, bytes(3_000_000))},
        recent={("a", b"%d" % number): None for number in range(1, 10_000)},
        facts={f"a/{number}": None for number in range(1, 10_000)},
    )
    meta.write(less)
    assert in_order(meta.load()) == expected(many, less)


def test_a_write_takes_few_steps(open_meta):
    meta = open_meta()
    meta.write(Changes(topics={"a": TopicRow(1)}))
    steps = []
    meta._connection.set_trace_callback(steps.append)
    meta.write(Changes(chunks={("a", f"g{number}", number % 7, number): STATES for number in range(1000)}))
    meta._connection.set_trace_callback(None)
    assert len(steps) <= 6, "at each of them a busy thread may have the interpreter's lock for 5 ms"


def test_any_thread_may_write(open_meta):
    meta = open_meta()
    thread = threading.Thread(target=meta.write, args=(EVERYTHING,))
    thread.start()
    thread.join()
    assert in_order(meta.load()) == expected(EVERYTHING)


class MetaMachine(RuleBasedStateMachine):
    """A file does what dicts would do. unwritten: what a write that failed has left behind."""

    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, META)
        self.world = World()
        self.unwritten = Changes()
        self.meta = Meta(self.path, sync=False)

    def teardown(self):
        self.meta.close()
        self.directory.cleanup()

    @rule(changes=A_CHANGE)
    def write(self, changes):
        self.world.write(fitting(changes, self.world))
        changes.merge_older(self.unwritten)
        self.unwritten = Changes()
        self.meta.write(changes)

    @rule(changes=A_CHANGE)
    def fail(self, changes):
        self.world.write(fitting(changes, self.world))
        changes.merge_older(self.unwritten)
        self.unwritten = changes
        failing = copy.deepcopy(changes)
        failing.recent["no topic", b""] = 1, 1
        with pytest.raises(ValueError, match="no topic"):
            self.meta.write(failing)

    @rule()
    def open_again(self):
        self.meta.close()
        self.meta = Meta(self.path, sync=False)

    @invariant()
    def everything_is_there(self):
        if not self.unwritten:
            assert in_order(self.meta.load()) == self.world.sorted


TestAsDictsDo = MetaMachine.TestCase
TestAsDictsDo.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


# --- changes


def test_changes_are_something():
    assert not Changes()
    for name in Changes.__dataclass_fields__:
        assert Changes(**{name: getattr(EVERYTHING, name) or ["news"]}), name


@given(st.lists(A_CHANGE, min_size=2, max_size=4), A_CHANGE)
@settings(deadline=None)
def test_merged_changes_do_what_they_do_one_after_the_other(several, before):
    one_by_one, at_once = World(), World()
    for world in (one_by_one, at_once):
        world.write(fitting(copy.deepcopy(before), world))
    merged = Changes()
    for changes in several:
        one_by_one.write(fitting(changes, one_by_one))
        newer = copy.deepcopy(changes)
        newer.merge_older(merged)
        merged = newer
    at_once.write(merged)
    assert at_once.sorted == one_by_one.sorted


@pytest.mark.parametrize(
    ("remove", "removal"),
    [
        (lambda changes: changes.remove_topic("a"), Changes(removed_topics=["a"])),
        (lambda changes: changes.remove_group("a", "g"), Changes(removed_groups=[("a", "g")])),
        (lambda changes: changes.remove_delayed("a", 0), Changes(delayed={("a", 0): None})),
    ],
    ids=["a topic", "a group", "a delayed message"],
)
@given(before=A_CHANGE, changes=A_CHANGE)
@settings(deadline=None)
def test_what_is_removed_goes_and_so_does_what_was_to_be_written_of_it(remove, removal, before, changes):
    one_by_one, at_once = World(), World()
    for world in (one_by_one, at_once):
        world.write(fitting(copy.deepcopy(before), world))
    one_by_one.write(fitting(changes, one_by_one))
    one_by_one.write(removal)
    remove(changes)
    at_once.write(changes)
    assert at_once.sorted == one_by_one.sorted


def test_merging_leaves_the_older_ones_as_they_are():
    older = copy.deepcopy(EVERYTHING)
    Changes(removed_topics=["news"], groups=[("jobs", "g")], recent={("jobs", b"once"): None}).merge_older(older)
    assert older == EVERYTHING


def test_what_newer_changes_remove_is_not_stored_of_older_ones():
    newer = Changes(removed_topics=["news"], topics={"news": TopicRow(1)}, removed_groups=[("jobs", "idle")])
    newer.merge_older(EVERYTHING)
    assert newer == Changes(
        removed_topics=["news"],
        topics={"news": TopicRow(1), "jobs": TopicRow(1)},
        removed_groups=[("jobs", "idle")],
        delayed=EVERYTHING.delayed,
        recent=EVERYTHING.recent,
        facts=EVERYTHING.facts,
    )


# --- failures

WRITER = """
import sys
import tempfile
from gstream.storage.meta import Changes, Meta, TopicRow
meta = Meta(sys.argv[1], sync=True)
meta.write(Changes(topics={"a": TopicRow(1)}))
number = 0
while True:
    number += 1
    chunks = {("a", "g", 0, each): number.to_bytes(4, "big") * 256 for each in range(50)}
    meta.write(Changes(lows={("a", "g", 0): number}, chunks=chunks))
    print(number, flush=True)
"""


@pytest.mark.parametrize("writes", [1, 2, 7, 60])
def test_what_was_written_is_there_after_a_kill(path, open_meta, writes):
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as process:
        written = [int(process.stdout.readline()) for _ in range(writes)]
        process.send_signal(signal.SIGKILL)
        written += map(int, process.stdout.read().split())
    saved = open_meta().load()
    low = saved.lows["a", "g", 0]
    assert low in {written[-1], written[-1] + 1}
    assert set(saved.chunks.values()) == {low.to_bytes(4, "big") * 256}, "all of a write, or nothing"
    assert len(saved.chunks) == 50


def test_a_full_disk_stores_nothing_and_then_again(open_meta):
    meta = open_meta()
    meta.write(EVERYTHING)
    pages = meta._pragma("page_count")
    meta._pragma(f"max_page_count = {pages + 5}")
    large = Changes(topics={"new": TopicRow(1)}, lows={("new", "g", 0): 5})
    large.chunks.update({("news", "default", 0, number): STATES for number in range(1, 100)})
    for _ in range(3):
        with pytest.raises(DiskFullError, match=f"{META}: .*full"):
            meta.write(large)
        assert in_order(meta.load()) == expected(EVERYTHING)
    small = Changes(lows={("news", "default", 0): 8})
    meta.write(small)
    meta._pragma("max_page_count = 100000")
    meta.write(large)
    assert in_order(meta.load()) == expected(EVERYTHING, small, large)


LIMITED = """
import resource, sys
from gstream.errors import StorageError
from gstream.storage.meta import Changes, Meta, TopicRow
meta = Meta(sys.argv[1], sync=True)
meta.write(Changes(topics={"a": TopicRow(1)}, lows={("a", "g", 0): 1}))
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, unlimited[1]))
chunks = {("a", "g", 0, each): bytes([1]) * 1024 for each in range(1000)}
for _ in range(3):
    try:
        meta.write(Changes(lows={("a", "g", 0): 2}, chunks=chunks))
    except StorageError as error:
        print(error)
    saved = meta.load()
    assert saved.lows == {("a", "g", 0): 1} and not saved.chunks
meta.write(Changes(lows={("a", "h", 0): 3}))
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
meta.write(Changes(lows={("a", "g", 0): 2}, chunks=chunks))
meta.close()
"""


def test_a_write_that_the_system_cuts_short_stores_nothing_and_then_again(path, open_meta):
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    errors = done.stdout.splitlines()
    assert len(errors) == 3
    assert all(error.startswith(f"{path}: ") for error in errors)
    saved = open_meta().load()
    assert saved.lows == {("a", "g", 0): 2, ("a", "h", 0): 3}
    assert len(saved.chunks) == 1000


def test_somebody_elses_transaction_is_waited_for_and_then_reported(open_meta, path):
    meta = open_meta()
    meta.write(EVERYTHING)
    meta._pragma("busy_timeout = 0")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"):
        meta.write(Changes(groups=[("jobs", "g")]))
    other.execute("ROLLBACK")
    meta.write(Changes(groups=[("jobs", "g")]))
    other.close()
    assert ("jobs", "g") in meta.load().groups


def test_a_bug_is_not_taken_for_a_failure(open_meta):
    meta = open_meta()
    with pytest.raises(struct.error):
        meta.write(Changes(topics={"a": TopicRow(None)}))
    meta.write(EVERYTHING)
    meta._connection.execute("DELETE FROM groups")
    with pytest.raises(sqlite3.IntegrityError):
        meta.write(Changes(chunks={("jobs", "idle", 0, 0): b"\1"}))
    meta.close()
    with pytest.raises(sqlite3.ProgrammingError):
        meta.write(EVERYTHING)


# --- the file


def test_one_file_is_left_and_only_its_owner_writes_it(open_meta, path, tmp_path):
    old = os.umask(0)
    try:
        meta = open_meta(sync=True)
        meta.write(EVERYTHING)
    finally:
        os.umask(old)
    assert {f"{META}-wal", META} <= set(os.listdir(tmp_path))
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o640 for each in tmp_path.iterdir())
    meta.close()
    meta.close()
    assert os.listdir(tmp_path) == [META]


@pytest.mark.parametrize(("sync", "level"), [(True, 2), (False, 1)])
def test_when_a_write_is_on_disk(open_meta, sync, level):
    meta = open_meta(sync=sync)
    assert meta._pragma("synchronous") == level, "2 is FULL: each transaction is synced; 1: when the log is put away"
    assert meta._pragma("journal_mode") == "wal"


def test_the_log_of_changes_is_bounded(open_meta, path):
    meta = open_meta()
    meta.write(Changes(topics={"a": TopicRow(1)}))
    for number in range(200):
        meta.write(Changes(chunks={("a", "g", 0, each): bytes([number]) * 1024 for each in range(100)}))
    assert os.path.getsize(f"{path}-wal") < 6 << 20
    meta.write(Changes(kept={("a", "g", 0, 0): KeptMessage(1, 2, 3, 112, bytes(20 << 20))}))
    assert os.path.getsize(f"{path}-wal") > 20 << 20
    meta.write(Changes(lows={("a", "g", 0): 1}))
    meta.write(Changes(lows={("a", "g", 0): 2}))
    assert os.path.getsize(f"{path}-wal") < 6 << 20
    assert meta.size == os.path.getsize(path) + os.path.getsize(f"{path}-wal")
    meta.close()
    assert meta.size == os.path.getsize(path)


def test_a_copy_beside_a_running_server(open_meta, path, tmp_path):
    meta = open_meta()
    meta.write(EVERYTHING)
    other = sqlite3.connect(path)
    other.execute("VACUUM INTO ?", [str(tmp_path / "copy.db")])
    other.close()
    copied = Meta(str(tmp_path / "copy.db"), sync=False)
    assert in_order(copied.load()) == expected(EVERYTHING)
    copied.close()


def test_a_file_of_no_bytes_is_a_new_one(open_meta, path):
    Path(path).touch()
    assert open_meta().load() == Saved()


def test_a_file_whose_making_was_cut_short_is_a_new_one(open_meta, path):
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode = WAL")
    other.close()
    assert os.path.getsize(path) > 0
    meta = open_meta()
    meta.write(EVERYTHING)
    assert in_order(meta.load()) == expected(EVERYTHING)


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (["CREATE TABLE a (b)"], "not a file of gstream's"),
        (["CREATE TABLE a (b)", "PRAGMA application_id = 7"], "not a file of gstream's"),
        ([f"PRAGMA application_id = {tables.APPLICATION_ID}", "PRAGMA user_version = 3"], "has version 3, .* 1 and 2"),
        ([f"PRAGMA application_id = {tables.APPLICATION_ID}"], "has version 0, .* 1 and 2"),
    ],
)
def test_another_program_and_another_version_are_refused_and_left_alone(path, statements, text):
    other = sqlite3.connect(path)
    for statement in statements:
        other.execute(statement)
    other.close()
    before = Path(path).read_bytes()
    with pytest.raises(VersionError, match=text) as caught:
        Meta(path, sync=True)
    assert str(caught.value).startswith(path)
    assert Path(path).read_bytes() == before


# --- version 1


@pytest.fixture
def old(path):
    """The dicts of what is in a file of version 1."""
    everything = copy.deepcopy(EVERYTHING)
    everything.facts.clear()
    meta = Meta(path, sync=False)
    meta.write(everything)
    meta.close()
    make_old(path)
    return expected(everything)


def make_old(path):
    """What the document says that makes a file one of version 1 again."""
    (way_back,) = re.findall(r"`(DROP TABLE [^`]*)`", DOCUMENT)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executescript(way_back)


def versions_of(path):
    with closing(sqlite3.connect(path)) as other:
        (version,) = other.execute("PRAGMA user_version").fetchone()
        rows = other.execute("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
        return version, tuple(sql for (sql,) in rows)


OLD_TABLES = """
CREATE TABLE topics (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  partitions INTEGER NOT NULL,
  retain_bytes INTEGER,
  retain_seconds REAL,
  crc INTEGER NOT NULL
);
CREATE TABLE groups (
  id INTEGER PRIMARY KEY,
  topic INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
  name TEXT NOT NULL,
  crc INTEGER NOT NULL,
  UNIQUE (topic, name)
);
CREATE TABLE shares (
  id INTEGER PRIMARY KEY,
  of_group INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
  partition INTEGER NOT NULL,
  low INTEGER,
  crc INTEGER NOT NULL,
  UNIQUE (of_group, partition)
);
CREATE TABLE chunks (
  share INTEGER NOT NULL REFERENCES shares ON DELETE CASCADE,
  number INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  states BLOB NOT NULL,
  PRIMARY KEY (share, number)
);
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
);
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
);
CREATE TABLE recent (
  topic INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
  id BLOB NOT NULL,
  message INTEGER,
  time_ms INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (topic, id)
);
PRAGMA application_id = 1735619693;
PRAGMA user_version = 1;
INSERT INTO topics VALUES (1, 'a', 3, NULL, 0.5, 1436225152);
"""
"""What version 1 wrote, statement by statement."""


def test_a_file_that_version_1_made(path, open_meta):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.executescript(OLD_TABLES)
        assert tables.checksum_of_topic(1, "a", 3, None, 0.5) == 1436225152
    assert versions_of(path)[0] == 1
    assert open_meta().load() == Saved(topics={"a": TopicRow(3, None, 0.5)})
    assert versions_of(path) == (2, tables.TABLES)


def test_a_file_of_version_1_gets_what_is_new_and_keeps_what_it_has(path, old, open_meta):
    assert versions_of(path) == (1, tables.TABLES[:-1])
    meta = open_meta()
    assert in_order(meta.load()) == old
    assert versions_of(path) == (tables.VERSION, tables.TABLES)
    meta.write(Changes(facts={"a": b"b"}))
    meta.close()
    assert open_meta().load().facts == {"a": b"b"}


def test_a_file_of_version_1_that_is_damaged_stays_as_it_is(path, old):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DELETE FROM groups")
    before = Path(path).read_bytes()
    with pytest.raises(DamagedError):
        Meta(path, sync=False)
    assert Path(path).read_bytes() == before


def test_what_cannot_get_all_that_is_new_stays_of_version_1(path, old, monkeypatch, open_meta):
    with monkeypatch.context() as patched:
        patched.setattr(tables, "UPGRADE", (*tables.UPGRADE, "CREATE TABLE topics (id)"))
        with pytest.raises(DamagedError, match="topics already exists"):
            Meta(path, sync=False)
    assert versions_of(path) == (1, tables.TABLES[:-1]), "all of it, or nothing"
    assert in_order(open_meta().load()) == old


# --- what stands in its place


def test_a_directory_in_its_place(path):
    os.mkdir(path)
    with pytest.raises(StorageError, match=f"{META}: unable to open") as caught:
        Meta(path, sync=True)
    assert "\n" not in str(caught.value)


def test_a_directory_that_is_not_there(path):
    with pytest.raises(StorageError, match="No such file"):
        Meta(os.path.join(path, META), sync=True)


# --- damage


@pytest.fixture
def written(path):
    """The bytes of a file of many pages."""
    meta = Meta(path, sync=False)
    meta.write(EVERYTHING)
    meta.write(Changes(chunks={("news", "default", 0, number): STATES for number in range(40)}))
    meta.write(Changes(recent={("jobs", b"%d" % number): (number, number) for number in range(500)}))
    meta.close()
    return Path(path).read_bytes()


def open_and_load(path):
    meta = Meta(path, sync=False)
    try:
        return meta.load()
    finally:
        meta.close()


@pytest.mark.parametrize("garbage", [b"garbage", b"garbage\n" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_garbage(path, garbage):
    Path(path).write_bytes(garbage)
    with pytest.raises(DamagedError, match=r"damaged .*; move it away, and groups start at the oldest") as caught:
        Meta(path, sync=True)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert Path(path).read_bytes() == garbage


def test_a_file_cut_short(path, written):
    for size in range(1000, len(written), 1999):
        Path(path).write_bytes(written[:size])
        with pytest.raises(DamagedError):
            open_and_load(path)


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_a_page_that_is_lost(path, written, fill):
    pages = len(written) // 4096
    assert pages > 20
    for page in range(1, pages):
        Path(path).write_bytes(written[: page * 4096] + fill * 4096 + written[(page + 1) * 4096 :])
        with pytest.raises(DamagedError):
            open_and_load(path)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DROP TABLE kept", "its tables are not those of gstream"),
        ("DELETE FROM groups", "what is not in it"),
        ("UPDATE topics SET name = CAST(x'ff' AS TEXT) WHERE name = 'news'", "a topic is not what was written"),
    ],
    ids=["tables that are not ours", "rows of what is not there", "text that is none"],
)
def test_what_somebody_else_changed(path, written, statement, why):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(statement)
    with pytest.raises(DamagedError, match=why):
        open_and_load(path)


def test_tables_whose_text_is_none(path, written):
    Path(path).write_bytes(written.replace(b"NOT NULL", b"NOT NU\xccL"))
    with pytest.raises(DamagedError, match="cannot be read"):
        open_and_load(path)


def test_when_it_was_moved_away_what_lay_beside_it_is_not_believed(path, open_meta):
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.stdout.read()
    assert os.path.getsize(f"{path}-wal") > 0
    os.remove(path)
    assert open_meta().load() == Saved()


# --- the document


def test_the_tables_of_the_document_are_those_of_the_file(open_meta):
    blocks = re.findall(r"^```sql\n(.*?);\n```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert blocks == list(tables.TABLES)
    rows = open_meta()._connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
    assert [sql for (sql,) in rows] == blocks


def test_the_numbers_of_the_document():
    assert f"0x{tables.APPLICATION_ID:08x} (`gstm`)" in DOCUMENT
    assert f"`user_version` is the version of these tables: {tables.VERSION}." in DOCUMENT


def test_rows_to_be_removed_are_looked_up(open_meta):
    connection = open_meta()._connection
    for before, behind in (tables.REMOVE_CHUNKS, tables.REMOVE_KEPT, tables.REMOVE_DELAYED, tables.REMOVE_RECENT):
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {before} (1, 2), (1, 3){behind}")]
        lookups = [step for step in plan if re.match(r"(SEARCH|SCAN) (chunks|kept|delayed|recent)", step)]
        assert [re.sub(r".*\(", "(", step) for step in lookups][:1] == ["(rowid=?)"], plan
        assert all(re.match(r"SEARCH .*(=\? AND .*=\?\)|\(rowid=\?\))", step) for step in lookups), plan
        assert len(lookups) == 2


def test_facts_to_be_removed_are_looked_up(open_meta):
    before, behind = tables.REMOVE_FACTS
    (step, *_) = open_meta()._connection.execute(f"EXPLAIN QUERY PLAN {before} ('a'), ('b'){behind}").fetchall()
    assert re.match(r"SEARCH facts USING .*INDEX .*\(name=\?\)", step[3])
