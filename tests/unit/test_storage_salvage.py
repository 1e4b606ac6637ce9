from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gstream import progress
from gstream.errors import DamagedError, DiskFullError, StorageError, VersionError
from gstream.storage import check, salvage, tables
from gstream.storage.changes import CHUNK_MESSAGES
from gstream.storage.directory import Directory
from gstream.storage.finding import Kind
from gstream.storage.meta import META, Changes, DelayedMessage, KeptMessage, Meta, TopicRow

PAGE_BYTES = 512
STRIDE_BITS = 211
NEWS = ("news", "default", 0)
OTHER = ("news", "default", 1)
JOBS = ("jobs", "w", 0)
STORED = Changes(
    topics={"news": TopicRow(2, 1 << 30, 0.5), "jobs": TopicRow(1)},
    groups=[("jobs", "idle")],
    lows={NEWS: 7, OTHER: 3000, JOBS: 1},
    chunks={
        (*NEWS, 0): bytes([255] * 9 + [1] * 20 + [255, 0, 2]),
        (*NEWS, 1): bytes([254, 255, 1]),
        (*OTHER, 2): bytes(950) + bytes([255] * 10),
        (*JOBS, 0): b"\1",
    },
    kept={
        (*NEWS, 3): KeptMessage(2, 1764020030000, 1764020000000, 112, b"pkept 3\n"),
        (*NEWS, 7): KeptMessage(1, 1764020030001, 1764020000001, 112, b"pkept 7\n"),
        (*OTHER, 900): KeptMessage(9, 1764020030002, 1764020000002, 112, b"pkept 900\n"),
    },
    delayed={
        ("jobs", 1): DelayedMessage(0, 1764020030000, b"once", 80, b"\0\1 a body"),
        ("jobs", 2): DelayedMessage(0, 1764020030001, None, 112, b"pdelayed 2\n"),
        ("news", 1): DelayedMessage(1, 5, b"x", 112, b"pdelayed 1\n"),
    },
    recent={
        ("jobs", b"\xff\0"): (5, 1764020000001),
        ("jobs", b"once"): (None, 1764020000000),
        ("news", b"x"): (None, 1),
        ("news", b"an id of news"): (1 << 48 | 3, 2),
        **{("news", b"id-%d" % number): (number, number) for number in range(25)},
    },
    facts={"cluster": b"\0\1 a value", **{f"topic/{number}/id": b"%d" % number for number in range(9)}},
)
MORE = Changes(chunks={(*NEWS, number): bytes([number]) * 9 for number in range(2, 20)})


def make(path):
    """A file of many small pages, some of them free."""
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        other.execute("PRAGMA journal_mode = WAL")
    other.close()
    meta = Meta(path, sync=False)
    meta.write(STORED)
    meta.write(MORE)
    meta.write(Changes(chunks={(*NEWS, number): None for number in range(2, 9)}))
    saved = meta.load()
    meta.close()
    return saved


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / META)


@pytest.fixture
def saved(path):
    return make(path)


def change(path, statement, *values):
    """Change the file's rows behind the back of their checksums."""
    other = sqlite3.connect(path, isolation_level=None)
    assert other.execute(statement, values).rowcount > 0
    other.close()


def load(path):
    """What is loaded, and what is reported."""
    findings = []
    meta = Meta(path, sync=False, report=findings.append)
    try:
        return meta.load(), findings
    finally:
        meta.close()


def done(saved, share):
    """The messages that a group has done, of those that its chunks tell of."""
    found = set(range(saved.lows.get(share, 0)))
    for key, states in saved.chunks.items():
        if key[:3] == share:
            found |= {key[3] * CHUNK_MESSAGES + at for at, state in enumerate(states) if state == 255}
    return found - {key[3] for key in saved.kept if key[:3] == share}


def check_that_nothing_is_more_done(saved, loaded, findings):
    assert loaded.topics == saved.topics
    assert loaded.facts == saved.facts
    assert sorted(loaded.groups) == sorted(saved.groups)
    for share in {*saved.lows, *loaded.lows}:
        assert done(loaded, share) <= done(saved, share)
    for name in ("kept", "delayed", "recent"):
        assert getattr(loaded, name).items() <= getattr(saved, name).items()
    for key in saved.kept.keys() - loaded.kept.keys():
        assert key[3] not in done(loaded, key[:3])
    if loaded != saved:
        assert any(finding.kind is Kind.DAMAGED for finding in findings)
    if saved.delayed != loaded.delayed:
        assert any("a delayed message" in finding.text for finding in findings)


# --- a bit is flipped


@pytest.mark.parametrize("part", range(8))
def test_whatever_bit_is_flipped_nothing_is_more_done(tmp_path, path, saved, part):
    sound = Path(path).read_bytes()
    results = set()
    for bit in range(part * STRIDE_BITS, len(sound) * 8, 8 * STRIDE_BITS):
        for name in os.listdir(tmp_path):
            os.remove(tmp_path / name)
        data = bytearray(sound)
        data[bit // 8] ^= 1 << bit % 8
        Path(path).write_bytes(data)
        verified = salvage.verify(path)
        assert Path(path).read_bytes() == data
        assert os.listdir(tmp_path) == [META]
        try:
            loaded, findings = load(path)
        except (DamagedError, VersionError):
            assert verified
            results.add("refused")
            continue
        except StorageError:
            assert bit // 8 == 18, "see below"
            continue
        assert verified == [each for each in findings if each.kind is Kind.DAMAGED]
        check_that_nothing_is_more_done(saved, loaded, findings)
        assert load(path) == (loaded, []), "it is told once, and then it is as it was loaded"
        results.add("less" if findings else "the same")
    assert results == {"refused", "less", "the same"}


def test_a_file_that_can_only_be_read_any_more(path, saved):
    data = bytearray(Path(path).read_bytes())
    data[18] ^= 4  # of which version SQLite has to be to write it
    Path(path).write_bytes(data)
    with pytest.raises(StorageError, match="readonly"):
        load(path)


@pytest.mark.parametrize("which", [0, 1])
def test_an_id_that_is_damaged_in_its_table_or_in_its_index(path, saved, which):
    sound = Path(path).read_bytes()
    parts = sound.split(b"an id of news")
    assert len(parts) == 3
    found = b"an ib of news".join([parts[0], b"an id of news".join(parts[1:])])
    if which:
        found = b"an ib of news".join([b"an id of news".join(parts[:2]), parts[2]])
    Path(path).write_bytes(found)
    loaded, (finding,) = load(path)
    assert "the table recent: rows are damaged or gone" in str(finding)
    assert saved.recent.keys() - loaded.recent.keys() <= {("news", b"an id of news")}
    assert (loaded.lows, loaded.chunks, loaded.kept) == (saved.lows, saved.chunks, saved.kept)
    meta = Meta(path, sync=False)
    meta.write(Changes(recent={("news", b"an id of news"): (4, 5), ("news", b"id-1"): None}))
    loaded = meta.load()
    meta.close()
    assert loaded.recent["news", b"an id of news"] == (4, 5)
    assert ("news", b"id-1") not in loaded.recent


# --- rows that are not what was written


def test_a_low_that_is_damaged_is_the_oldest_message(path, saved):
    change(path, "UPDATE shares SET low = 3001 WHERE low = 3000")
    loaded, (finding,) = load(path)
    text = "topic news, group default, partition 1: how far it had come is not known; it starts at the oldest message"
    assert str(finding) == f"{path}: damaged: {text}"
    assert loaded.lows == {**saved.lows, OTHER: 0}
    assert loaded.kept == saved.kept
    assert done(loaded, OTHER) == {*range(2998, 3008)}
    assert loaded.chunks[*OTHER, 0][900] == 255, "what is kept is not delivered from the log, too"
    assert load(path) == (loaded, [])


def test_a_chunk_that_is_damaged_is_not_delivered(path, saved):
    change(path, "UPDATE chunks SET states = ? WHERE number = 1", bytes([255, 255, 1]))
    loaded, findings = load(path)
    assert len(findings) == 2
    assert "group default, partition 0: what it had done of messages 1024 to 2047 is not known" in findings[0].text
    assert "the table chunks: rows are damaged or gone" in findings[1].text
    assert done(saved, NEWS) - done(loaded, NEWS) == {1025}
    assert loaded.lows == saved.lows
    assert done(loaded, OTHER) == done(saved, OTHER)
    assert load(path) == (loaded, [])


@pytest.mark.parametrize(("offset", "low"), [(3, 3), (7, 7), (900, 900)])
def test_a_kept_message_that_is_damaged_comes_from_its_log(path, saved, offset, low):
    change(path, "UPDATE kept SET data = ? WHERE message = ?", b"pkepp\n", offset)
    loaded, findings = load(path)
    share = OTHER if offset == 900 else NEWS
    assert [finding.kind for finding in findings] == [Kind.DAMAGED, Kind.KEPT_ASIDE]
    assert f"partition {share[2]}: message {offset}, kept to come again, is damaged" in findings[0].text
    assert loaded.lows[share] == low
    assert offset not in done(loaded, share)
    assert saved.kept.keys() - loaded.kept.keys() == {(*share, offset)}
    check_that_nothing_is_more_done(saved, loaded, findings)
    assert load(path) == (loaded, [])


def test_a_delayed_message_that_is_damaged_is_not_published_and_its_id_is_free(path, saved):
    change(path, "UPDATE delayed SET data = ? WHERE id = ?", b"\0\1 another body", b"once")
    loaded, findings = load(path)
    assert "topic jobs: a delayed message, number 1, is damaged; it is not published" in findings[0].text
    assert saved.delayed.keys() - loaded.delayed.keys() == {("jobs", 1)}
    assert saved.recent.keys() - loaded.recent.keys() == {("jobs", b"once")}
    assert load(path) == (loaded, [])


def test_a_message_that_is_damaged_is_kept_aside_for_people_once(path, saved, tmp_path):
    change(path, "UPDATE kept SET data = ? WHERE message = 3", b"ponly here\n")
    _, findings = load(path)
    aside = f"{path}.damaged"
    assert findings[1].path == aside
    assert os.stat(aside).st_mode & 0o777 == 0o640
    assert b"ponly here\n" in Path(aside).read_bytes()
    assert b"ponly here\n" not in [message.data for message in load(path)[0].kept.values()]
    change(path, "UPDATE kept SET data = ? WHERE message = 7", b"pthe next one\n")
    _, findings = load(path)
    assert [finding.kind for finding in findings] == [Kind.DAMAGED]
    assert b"ponly here\n" in Path(aside).read_bytes()


def test_without_room_for_a_copy_nothing_is_removed(path, saved, tmp_path):
    change(path, "UPDATE kept SET data = ? WHERE message = 3", b"ponly here\n")
    (tmp_path / f"{META}.damaged").mkdir()
    assert load(path)[1][0].kind is Kind.DAMAGED, "something has the name: it is left alone"
    change(path, "UPDATE kept SET data = ? WHERE message = 7", b"pthe next one\n")
    (tmp_path / f"{META}.damaged").rmdir()
    meta = Meta(path, sync=False)
    meta._connection.set_authorizer(lambda action, *_: action == sqlite3.SQLITE_ATTACH)
    with pytest.raises(StorageError, match="authorization denied"):
        meta.load()
    meta.close()
    assert not os.path.exists(f"{path}.damaged")
    assert [finding.kind for finding in load(path)[1]] == [Kind.DAMAGED, Kind.KEPT_ASIDE]


def test_what_cannot_be_corrected_for_want_of_room_is_not_loaded(path, saved):
    change(path, "UPDATE shares SET low = 8 WHERE low = 7")
    change(path, "UPDATE chunks SET states = ? WHERE number = 1", bytes([255, 255, 1]))
    meta = Meta(path, sync=False)
    meta._pragma("max_page_count = 1")  # no less than there are
    free_pages = meta._pragma("freelist_count")
    meta.write(Changes(chunks={(*NEWS, number): bytes(400) for number in range(100, 100 + free_pages - 1)}))
    with pytest.raises(DiskFullError):
        meta.load()
    meta._pragma("max_page_count = 1000")
    loaded = meta.load()
    meta.close()
    assert loaded.lows[NEWS] == 0
    assert load(path) == (loaded, [])


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("UPDATE topics SET retain_bytes = retain_bytes - 1 WHERE retain_bytes NOT NULL", "a topic is not what was"),
        ("UPDATE topics SET retain_seconds = NULL", "a topic is not what was"),
        ("UPDATE topics SET name = 'newt' WHERE name = 'news'", "a topic is not what was"),
        ("UPDATE topics SET name = CAST(x'ff' AS TEXT) WHERE name = 'news'", "a topic is not what was"),
        ("UPDATE groups SET name = 'idlf' WHERE name = 'idle'", "a group is not what was"),
        ("DELETE FROM groups WHERE name = 'w'", "what is not in it"),
        ("UPDATE facts SET value = x'00' WHERE name = 'topic/3/id'", "a fact is not what was written: 'topic/3/id'"),
        ("UPDATE facts SET name = 'topic/3/ie' WHERE name = 'topic/3/id'", "a fact is not what was"),
        ("UPDATE facts SET name = CAST(x'ff' AS TEXT) WHERE name = 'cluster'", "a fact is not what was"),
        ("UPDATE facts SET crc = crc + 1 WHERE name = 'cluster'", "a fact is not what was written: 'cluster'"),
        ("UPDATE facts SET value = 5 WHERE name = 'cluster'", "a fact is not what was written: 'cluster'"),
    ],
)
def test_names_and_settings_that_are_damaged_are_refused(path, saved, statement, text):
    change(path, statement)
    before = Path(path).read_bytes()
    with pytest.raises(DamagedError, match=f"damaged .*{text}.*; move it away, and groups start at the oldest"):
        load(path)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("value", [b"low", "low", 0.5, None])
def test_a_value_of_another_type(path, saved, value):
    change(path, "UPDATE shares SET low = ? WHERE low = 7", value)
    loaded, findings = load(path)
    assert len(findings) == 1
    assert loaded.lows == {**saved.lows, NEWS: 0}


def test_a_row_of_two_ids_of_a_share_that_is_not_there(path, saved):
    change(path, "UPDATE chunks SET share = 77 WHERE number = 1")
    change(path, "UPDATE recent SET topic = 77 WHERE id = ?", b"id-1")
    loaded, findings = load(path)
    assert [finding.text.partition(":")[0] for finding in findings] == ["the table chunks", "the table recent"]
    assert (*NEWS, 1) not in loaded.chunks
    assert ("news", b"id-1") not in loaded.recent
    assert load(path) == (loaded, [])


@pytest.mark.parametrize(
    "statement", ["DROP TABLE recent", "ALTER TABLE kept ADD COLUMN more", "CREATE TABLE more (a)"]
)
def test_other_tables_are_refused(path, saved, statement):
    other = sqlite3.connect(path)
    other.execute(statement)
    other.close()
    with pytest.raises(DamagedError, match="its tables are not those of gstream"):
        load(path)


def test_a_chunk_has_as_many_states_as_progress_gives_it():
    assert CHUNK_MESSAGES == progress.CHUNK_MESSAGES


def test_the_checksums_of_the_document():
    assert tables.checksum_of_recent(1, b"id", None, 2) == tables.checksum_of_recent(1, b"id", -(1 << 63), 2)
    number = "0000000000000001"
    expected = bytes.fromhex(f"{number}000000000000000380000000000000000000000000000002") + b"abc"
    assert tables.checksum_of_recent(1, b"abc", None, 2) == tables.crc32c(expected)
    expected = bytes.fromhex(f"{number}0000000000000003{number}80000000000000003fe0000000000000") + b"abc"
    assert tables.checksum_of_topic(1, "abc", 1, None, 0.5) == tables.crc32c(expected)
    expected = bytes.fromhex("00000000000000030000000000000002") + b"abc\0\1"
    assert tables.checksum_of_fact("abc", b"\0\1") == tables.crc32c(expected)


# --- for those who do not own it


def test_a_file_that_is_not_there_or_has_nothing_yet(path):
    assert salvage.verify(path) == []
    Path(path).touch()
    assert salvage.verify(path) == []


def test_a_file_of_version_1_is_verified_and_stays_one(path, saved):
    change(path, "DELETE FROM facts")
    other = sqlite3.connect(path, isolation_level=None)
    other.executescript("DROP TABLE facts; PRAGMA user_version = 1")
    other.close()
    before = Path(path).read_bytes()
    assert salvage.verify(path) == []
    assert Path(path).read_bytes() == before
    loaded, findings = load(path)
    assert (findings, loaded.facts, loaded.lows, loaded.recent) == ([], {}, saved.lows, saved.recent)


def test_a_fact_that_is_missing_in_its_table_or_in_its_index_is_refused(path, saved):
    sound = Path(path).read_bytes()
    parts = sound.split(b"topic/7/id")
    assert len(parts) == 3, "in the table and in its index"
    for found in (
        b"topic/7/ie".join([parts[0], b"topic/7/id".join(parts[1:])]),
        b"topic/7/ie".join([b"topic/7/id".join(parts[:2]), parts[2]]),
    ):
        Path(path).write_bytes(found)
        assert [finding.kind for finding in salvage.verify(path)] == [Kind.DAMAGED]
        with pytest.raises(DamagedError):
            load(path)


def test_it_is_verified_beside_its_owner(path, saved, tmp_path):
    meta = Meta(path, sync=False)
    meta.write(Changes(lows={NEWS: 8}))
    names = sorted(os.listdir(tmp_path))
    assert f"{META}-wal" in names
    assert salvage.verify(path) == []
    change(path, "UPDATE shares SET low = 9 WHERE low = 8")
    assert [finding.kind for finding in salvage.verify(path)] == [Kind.DAMAGED]
    assert sorted(os.listdir(tmp_path)) == names
    meta.write(Changes(lows={NEWS: 10}))
    meta.close()
    assert salvage.verify(path) == []


WRITER = """
import sys
from gstream.storage.meta import Changes, Meta
meta = Meta(sys.argv[1], sync=False)
meta.write(Changes(lows={("news", "default", 0): 10}))
print("written", flush=True)
sys.stdin.read()
"""


def test_what_a_kill_leaves_is_verified(path, saved, tmp_path):
    command = [sys.executable, "-c", WRITER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    names = sorted(os.listdir(tmp_path))
    assert f"{META}-wal" in names
    assert salvage.verify(path) == []
    assert sorted(os.listdir(tmp_path)) == names
    assert load(path)[0].lows[NEWS] == 10


def test_a_name_that_an_address_would_have_to_escape(tmp_path):
    path = str(tmp_path / "a?b#c%20 d" / META)
    os.mkdir(os.path.dirname(path))
    make(path)
    assert salvage.verify(path) == []
    change(path, "UPDATE shares SET low = 9 WHERE low = 7")
    assert len(salvage.verify(path)) == 1


def test_a_directory_is_verified_with_it(tmp_path, saved, path):
    Directory(str(tmp_path / "data"), lambda _: None).close()
    os.rename(path, tmp_path / "data" / META)
    target = str(tmp_path / "data")
    assert list(check.verify(target)) == []
    change(f"{target}/{META}", "UPDATE shares SET low = 9 WHERE low = 7")
    (finding,) = check.verify(target)
    assert (finding.kind, finding.path) == (Kind.DAMAGED, f"{target}/{META}")
    Path(target, META).write_bytes(b"garbage\n" * 1000)
    (finding,) = check.verify(target)
    assert str(finding) == (
        f"{target}/{META}: damaged: (file is not a database); move it away, and groups start at the oldest message"
    )
