from __future__ import annotations

import os

import pytest
from crc32c import crc32c

from gstream.batch import Batch, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.errors import StorageError, VersionError
from gstream.header import unpack_header
from gstream.storage import check
from gstream.storage.check import Dumped, Totals, dump, verify
from gstream.storage.directory import Directory
from gstream.storage.files import Files
from gstream.storage.finding import Kind
from gstream.storage.frame import encode_frame
from gstream.storage.log import LogSettings
from gstream.storage.recordbatch import RecordBatch
from gstream.storage.scan import WINDOW_BYTES
from tests.unit.records_ground import batch_of

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


def test_one_topic_of_a_directory(data, files):
    assert len(list(dump(str(data), files=files, topic="orders"))) == 2
    (data / "notes").touch()
    totals = Totals()
    assert list(verify(str(data), files=files, topic="orders", totals=totals)) == []
    assert (totals.batches, totals.messages) == (2, 2)


def test_all_that_was_read_is_counted(data, files):
    totals = Totals()
    assert list(verify(str(data), files=files, totals=totals)) == []
    there = [*data.rglob("*.log"), *data.rglob("*.index")]
    assert (totals.files, totals.bytes) == (10, sum(path.stat().st_size for path in there))
    assert (totals.batches, totals.messages) == (27, 27)


@pytest.mark.parametrize("offset", [0, 1, 9, 10, 13, 19, 20, 24, 25, 1 << 40])
@pytest.mark.parametrize("index", ["there", "missing", "broken", "wrong"])
def test_from_an_offset_on(data, news, files, offset, index):
    for base in (0, 10, 20):
        if index == "missing":
            index_of(news, base).unlink()
        elif index == "broken":
            change(index_of(news, base), 60, b"\xff")
        elif index == "wrong":  # as if all frames began elsewhere
            content = bytearray(index_of(news, base).read_bytes())
            for entry in range(48, len(content), 16):
                content[entry + 7] ^= 1
            content[4:8] = crc32c(content[8:]).to_bytes(4, "big")
            index_of(news, base).write_bytes(content)
    found = dump(str(news), files=files, from_offset=offset)
    assert [each.frame.offset for each in found] == list(range(offset, 25))


def test_the_index_saves_reading(data, news):
    class CountingFiles(ReadingFiles):
        read_bytes = 0

        def read(self, fd, size, position):
            found = super().read(fd, size, position)
            self.read_bytes += len(found)
            return found

    files = CountingFiles()
    assert [each.frame.offset for each in dump(str(news), files=files, from_offset=19)] == list(range(19, 25))
    assert files.read_bytes < (1 + 5) * SIZE + index_of(news, 10).stat().st_size + 1


def test_a_batch_that_holds_the_offset_is_there_as_a_whole(data, news, files):
    with open(log_of(news, 20), "ab") as file:
        file.write(b"".join(encode_frame(Batch(25, 3, pack(b"a", b"b", b"c"), 2000))))
    (found,) = dump(str(news), files=files, from_offset=26)
    assert (found.frame.offset, found.frame.next_offset) == (25, 28)


def test_a_segment_that_is_dropped_while_it_is_verified(data, news):
    class DroppingFiles(ReadingFiles):
        """Drops a segment, the index first as a log does, when something was read."""

        def read(self, fd, size, position):
            found = super().read(fd, size, position)
            if size > 48 + 16 * 4:
                index_of(news, 10).unlink(missing_ok=True)
                log_of(news, 10).unlink(missing_ok=True)
            return found

    change(log_of(news, 10), 5 * SIZE - 2, b"X")
    assert list(verify(str(log_of(news, 10)), files=DroppingFiles())) == []


def test_an_index_that_is_just_being_written(data, news):
    class LateFiles(ReadingFiles):
        """The index of the second segment is there when somebody looks again."""

        looked = 0

        def open(self, path, flags=os.O_RDONLY):
            if path == str(index_of(news, 10)):
                self.looked += 1
                if self.looked == 1:
                    raise FileNotFoundError
            return super().open(path, flags)

    assert list(verify(str(data), files=LateFiles())) == []


def test_a_topic_that_is_removed_meanwhile(data, news):
    class RemovingFiles(ReadingFiles):
        def names(self, path):
            if path == str(news.parent):
                raise FileNotFoundError
            return super().names(path)

    assert len(list(dump(str(data), files=RemovingFiles()))) == 2
    assert list(verify(str(data), files=RemovingFiles())) == []


def test_a_large_segment_tells_on_the_way(data, news, files, monkeypatch):
    monkeypatch.setattr(check, "PROGRESS_BYTES", 3 * SIZE)
    told = []
    list(verify(str(log_of(news, 0)), lambda done, total: told.append((done // SIZE, total // SIZE)), files))
    assert told == [(3, 10), (6, 10), (9, 10), (10, 10)]


def test_a_length_that_is_wrong_makes_nobody_read_that_much(data, news):
    class SparingFiles(ReadingFiles):
        def read(self, fd, size, position):
            assert size <= 2 * WINDOW_BYTES
            return super().read(fd, size, position)

    os.truncate(log_of(news, 20), 200 << 20)  # zeros
    change(log_of(news, 20), 4 * SIZE + 8, (150 << 20).to_bytes(4, "big"))
    (found,) = verify(str(log_of(news, 20)), files=SparingFiles())
    assert (found.kind, found.text, found.offset) == (Kind.TORN, "the checksum is wrong", 24)


def test_a_large_batch_is_read(data, news, files, monkeypatch):
    monkeypatch.setattr(check, "LARGE_BYTES", SIZE)
    body = b"x" * 1000
    with open(log_of(news, 20), "ab") as file:
        file.write(b"".join(encode_frame(Batch(25, 1, pack(body), 2000))))
    assert list(verify(str(log_of(news, 20)), files=files)) == []
    assert list(dump(str(log_of(news, 20)), files=files))[-1].frame.batch().bodies() == [body]


# --- what is wrong


def test_damage_is_found(data, news, files):
    change(log_of(news, 10), 5 * SIZE - 2, b"X")
    (found,) = verify(str(data), files=files)
    assert (found.kind, found.path, found.text) == (Kind.DAMAGED, str(log_of(news, 10)), "the checksum is wrong")
    assert (found.position, found.size, found.offset, found.next_offset) == (4 * SIZE, SIZE, 14, 15)
    dumped = list(dump(str(data), files=files))
    assert len(dumped) == 27
    assert dumped[14] == found


@pytest.mark.parametrize("at", range(10))
def test_damage_does_not_make_the_index_wrong(data, news, files, at):
    change(log_of(news, 10), (at + 1) * SIZE - 2, b"X")
    assert kinds(verify(str(data), files=files)) == [Kind.DAMAGED]


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


def test_messages_that_were_wrong_when_they_were_written(data, news, files):
    with open(log_of(news, 20), "ab") as file:
        file.write(b"".join(encode_frame(Batch(25, 2, b"pa\n", 2000))))
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
    with pytest.raises(StorageError, match=r"none: No such file or directory"):
        list(look(str(data / "none"), files=files))
    with pytest.raises(StorageError, match="neither a directory nor a segment, whose name is 20 digits"):
        list(look(str(index_of(news, 0)), files=files))
    with pytest.raises(StorageError, match="No such file or directory"):
        list(look(str(log_of(news, 5)), files=files))
    with pytest.raises(StorageError, match="holds no messages; expected a data directory"):
        list(look(str(data.parent), files=files))


@pytest.mark.parametrize("look", [dump, verify])
def test_a_topic_that_is_not_there(data, news, files, look):
    with pytest.raises(StorageError, match=r"no such topic: olds \(there are: news, orders\)"):
        list(look(str(data), files=files, topic="olds"))
    for number in range(20):
        (data / "topics" / f"a{number:02}").mkdir()
    with pytest.raises(StorageError, match=r"there are: a00, .*, a09, \.\.\."):
        list(look(str(data), files=files, topic="olds"))
    for target in (news, news.parent, log_of(news, 0)):
        with pytest.raises(StorageError, match="no topics to choose from"):
            list(look(str(target), files=files, topic="news"))


def test_another_version_is_refused(data, files):
    (data / "version").write_bytes(b"gstream 2\n")
    with pytest.raises(VersionError, match="has version 2"):
        list(verify(str(data), files=files))


def test_a_directory_without_a_version(data, files):
    (data / "version").unlink()
    with pytest.raises(VersionError, match="no version"):
        list(verify(str(data), files=files))


# --- what is known of producers


@pytest.fixture
def records(tmp_path):
    """A directory with a topic in which a producer's records are in the first of two segments."""
    directory = Directory(str(tmp_path / "data"), print, SETTINGS)
    log = directory.open_log("records")
    stored = batch_of(b"a", b"b", producer_id=7, producer_epoch=0, base_sequence=0)
    log.append([RecordBatch(stored, unpack_header(stored))])
    log.roll()
    log.append([Batch(0, 1, pack(b"message"), 1000)])
    log.close()
    directory.close()
    return tmp_path / "data"


def test_a_snapshot_of_producers_is_one_of_our_files(records, files):
    totals = Totals()
    assert list(verify(str(records), files=files, totals=totals)) == []
    assert (totals.batches, totals.messages) == (2, 3)


def test_a_damaged_snapshot_of_producers_is_told(records, files):
    path = records / "topics" / "records" / "0" / f"{2:020d}.producers"
    change(path, 20, b"\xff")
    (finding,) = verify(str(records), files=files)
    assert (finding.kind, finding.path, finding.text) == (Kind.INDEX, str(path), "the checksum is wrong")
