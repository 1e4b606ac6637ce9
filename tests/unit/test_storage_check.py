from __future__ import annotations

import os
import struct

import pytest
from crc32c import crc32c

from gstream.batch import Batch, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.errors import StorageError, VersionError
from gstream.storage.check import Dumped, dump, verify
from gstream.storage.directory import Directory
from gstream.storage.files import Files
from gstream.storage.finding import Kind
from gstream.storage.frame import encode_frame
from gstream.storage.log import LogSettings

SIZE = 70
"""Of a frame of one message, ``message``."""
SETTINGS = LogSettings(segment_bytes=10 * SIZE, interval_bytes=3 * SIZE)


class ReadingFiles(Files):
    """Refuses whatever would change something, or take a lock."""

    def open(self, path, flags=os.O_RDONLY):
        assert flags == os.O_RDONLY
        return super().open(path, flags)

    def _refuse(self, *args):
        raise AssertionError(args)

    write = truncate = sync = sync_directory = forget = lock = make_directory = rename = remove = _refuse


@pytest.fixture
def files():
    return ReadingFiles()


@pytest.fixture
def data(tmp_path):
    """A directory with 25 messages in ``news`` and one in each of two partitions of ``orders``; it is closed."""
    directory = Directory(str(tmp_path / "data"), print, SETTINGS)
    log = directory.open_log("news")
    for number in range(25):
        log.append([Batch(0, 1, pack(b"message"), 1000 + number)])
    log.close()
    for partition in (1, 0):
        log = directory.open_log("orders", partition)
        log.append([CountedBatch(0, 1, pack_counted(b"a\nb", b"key", [("h", b"v")]), 7)])
        log.close()
    directory.close()
    return tmp_path / "data"


@pytest.fixture
def news(data):
    return data / "topics" / "news" / "0"


def log_of(path, base):
    return path / f"{base:020d}.log"


def index_of(path, base):
    return path / f"{base:020d}.index"


def change(path, position, new):
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(new)


def kinds(findings):
    return [each.kind for each in findings]


def test_a_sound_directory(data, files):
    assert list(verify(str(data), files=files)) == []


def test_all_is_dumped_in_order(data, files):
    found = list(dump(str(data), files=files))
    assert all(isinstance(each, Dumped) for each in found)
    messages = [(os.path.relpath(each.path, data), m) for each in found for m in each.frame.batch().messages()]
    assert [(path, m.offset) for path, m in messages] == [
        *((f"topics/news/0/{number // 10 * 10:020d}.log", number) for number in range(25)),
        (f"topics/orders/0/{0:020d}.log", 0),
        (f"topics/orders/1/{0:020d}.log", 0),
    ]
    assert {m.body for _, m in messages} == {b"message", b"a\nb"}
    assert messages[-1][1].key == b"key"


def test_a_topic_a_partition_a_file(data, news, files):
    assert len(list(dump(str(data / "topics" / "orders"), files=files))) == 2
    assert len(list(dump(str(news), files=files))) == 25
    assert [each.frame.offset for each in dump(str(log_of(news, 10)), files=files)] == list(range(10, 20))
    assert list(verify(str(log_of(news, 10)), files=files)) == []


def test_a_file_in_the_directory_one_is_in(news, files, monkeypatch):
    monkeypatch.chdir(news)
    assert len(list(dump(log_of(news, 20).name, files=files))) == 5


def test_it_works_beside_a_server(data, files):
    directory = Directory(str(data), print, SETTINGS)
    log = directory.open_log("news")

    def append(_done, _total):
        log.append([Batch(0, 1, pack(b"another"))])

    assert list(verify(str(data), append, files)) == []
    assert log.end_offset == 25 + 5
    log.close()
    directory.close()


def test_progress_is_told_in_bytes(data, files):
    told = []
    list(verify(str(data), lambda done, total: told.append((done, total)), files))
    total = sum(path.stat().st_size for path in data.rglob("*.log"))
    assert len(told) == 5
    assert told[0] == (10 * SIZE, total)
    assert told[-1] == (total, total)
    again = []
    list(dump(str(data), lambda done, total: again.append((done, total)), files))
    assert again == told


def test_a_segment_that_is_dropped_meanwhile(data, news, files):
    found = dump(str(data), files=files)
    first = next(found)
    assert first.frame.offset == 0
    for base in (0, 10):
        log_of(news, base).unlink()
        index_of(news, base).unlink()
    rest = [each.frame.offset for each in found if "news" in each.path]
    assert rest == [*range(1, 10), *range(20, 25)]


# --- what is wrong


def test_damage_is_found(data, news, files):
    change(log_of(news, 10), 5 * SIZE - 2, b"X")
    (found,) = verify(str(data), files=files)
    assert (found.kind, found.path, found.text) == (Kind.DAMAGED, str(log_of(news, 10)), "the checksum is wrong")
    assert (found.position, found.size, found.offset, found.next_offset) == (4 * SIZE, SIZE, 14, 15)
    dumped = list(dump(str(data), files=files))
    assert len(dumped) == 27
    assert dumped[14] == found


def test_a_torn_tail_is_no_damage(data, news, files):
    os.truncate(log_of(news, 20), 5 * SIZE - 1)
    index_of(news, 20).unlink()
    (found,) = verify(str(data), files=files)
    assert (found.kind, found.position, found.size, found.offset) == (Kind.TORN, 4 * SIZE, SIZE - 1, 24)


def test_a_sealed_segment_that_ends_too_early(data, news, files):
    os.truncate(log_of(news, 10), 9 * SIZE)
    found = list(verify(str(data), files=files))
    assert kinds(found) == [Kind.DAMAGED, Kind.INDEX]
    assert (found[0].offset, found[0].next_offset, found[0].text) == (
        19,
        20,
        "ends at 19, the next segment begins at 20",
    )
    os.truncate(log_of(news, 10), 9 * SIZE - 1)
    found = list(verify(str(data), files=files))
    assert kinds(found) == [Kind.DAMAGED, Kind.INDEX]
    assert (found[0].offset, found[0].next_offset, found[0].size) == (18, 20, SIZE - 1)


def test_an_empty_sealed_segment(data, news, files):
    os.truncate(log_of(news, 10), 0)
    found = [each for each in verify(str(data), files=files) if each.kind is Kind.DAMAGED]
    assert [(each.offset, each.next_offset) for each in found] == [(10, 20)]


def test_a_segment_that_is_gone(data, news, files):
    log_of(news, 10).unlink()
    index_of(news, 10).unlink()
    (found,) = verify(str(data), files=files)
    assert (found.kind, found.offset, found.next_offset) == (Kind.DAMAGED, 10, 20)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda path: path.unlink(), "it is missing"),
        (lambda path: change(path, 20, b"\xff"), "the checksum is wrong"),
        (lambda path: path.write_bytes(b""), "0 bytes are no index"),
        (lambda path: path.write_bytes(index_of(path.parent, 0).read_bytes()), "it is the index of another segment, 0"),
    ],
    ids=["missing", "changed", "empty", "another"],
)
def test_a_wrong_index_is_found_and_is_no_damage(data, news, files, edit, why):
    edit(index_of(news, 10))
    (found,) = verify(str(data), files=files)
    assert (found.kind, found.path, found.text) == (Kind.INDEX, str(index_of(news, 10)), why)


def test_an_index_that_leads_astray(data, news, files):
    content = bytearray(index_of(news, 10).read_bytes())
    content[-16 + 7] ^= 1  # the last entry's position
    content[4:8] = crc32c(content[8:]).to_bytes(4, "big")
    index_of(news, 10).write_bytes(content)
    (found,) = verify(str(data), files=files)
    assert (found.kind, found.text) == (Kind.INDEX, "it leads to where no frame begins")


WRONG = {
    "more lines": Batch(25, 1, b"pa\npb\n", 2000),
    "fewer lines": Batch(25, 2, b"pa\n", 2000),
    "no p": Batch(25, 1, b"a\n", 2000),
    "no LF": Batch(25, 1, b"pa\nb", 2000),
    "too long": CountedBatch(25, 1, pack_counted(b"a") + b"x", 2000),
    "too short": CountedBatch(25, 1, pack_counted(b"abc")[:-1], 2000),
    "no sizes": CountedBatch(25, 1, b"x", 2000),
    "no header": CountedBatch(25, 1, struct.pack(">IhI", 0, -1, 3) + b"\0\0\0", 2000),
    "no UTF-8": CountedBatch(25, 1, pack_counted(b"", None, [("h", b"")]).replace(b"h", b"\xff"), 2000),
}


@pytest.mark.parametrize("batch", WRONG.values(), ids=WRONG)
def test_messages_that_were_wrong_when_they_were_written(data, news, files, batch):
    with open(log_of(news, 20), "ab") as file:
        file.write(b"".join(encode_frame(batch)))
    (found,) = verify(str(data), files=files)
    assert (found.kind, found.text, found.offset) == (Kind.DAMAGED, "its messages do not fill it", 25)


def test_strangers_are_named(data, news, files):
    strangers = [data / "notes", data / "topics" / "a b", data / "topics" / "news" / "x", news / "1.log"]
    for stranger in strangers:
        stranger.touch()
    (data / "meta.db").touch()
    (data / "meta.db-wal").touch()
    (news / f"{20:020d}.cut").write_bytes(b"frames")
    found = list(verify(str(data), files=files))
    assert sorted(each.path for each in found if each.kind is Kind.STRANGE) == sorted(map(str, strangers))
    (aside,) = (each for each in found if each.kind is Kind.KEPT_ASIDE)
    assert (aside.path, aside.size) == (str(news / f"{20:020d}.cut"), 6)
    assert len(found) == 5


# --- what cannot be read


@pytest.mark.parametrize("look", [dump, verify])
def test_what_cannot_be_read_is_said(data, news, files, look):
    with pytest.raises(StorageError, match="neither a directory nor a segment"):
        list(look(str(data / "none"), files=files))
    with pytest.raises(StorageError, match="neither a directory nor a segment"):
        list(look(str(index_of(news, 0)), files=files))
    with pytest.raises(StorageError, match="no such file"):
        list(look(str(log_of(news, 5)), files=files))
    with pytest.raises(StorageError, match="No such file or directory"):
        list(look(str(data / "none" / log_of(news, 5).name), files=files))


def test_another_version_is_refused(data, files):
    (data / "version").write_bytes(b"gstream 2\n")
    with pytest.raises(VersionError, match="has version 2"):
        list(verify(str(data), files=files))


def test_a_directory_without_a_version(data, files):
    (data / "version").unlink()
    with pytest.raises(VersionError, match="no version"):
        list(verify(str(data), files=files))
