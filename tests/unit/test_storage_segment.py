from __future__ import annotations

import errno
import os

import pytest

from gstream.batch import Batch, pack
from gstream.errors import DamagedError
from gstream.storage.finding import Kind
from gstream.storage.frame import decode_header, encode_frame
from gstream.storage.index import Index
from gstream.storage.segment import CUT, INDEX, LOG, Segment, base_of, name_of, write_all
from tests.unit.disturbed_files import FaultyFiles

INTERVAL = 300
SIZE = 70
"""Of a frame of one message."""


@pytest.fixture
def files():
    files = FaultyFiles()
    yield files
    assert files.opened == 0, "every descriptor is given back"


@pytest.fixture
def findings():
    return []


@pytest.fixture
def make(files, tmp_path):
    segments = []

    def make(base_offset=0, size=0, limit=None):
        segment = Segment(files, str(tmp_path), base_offset, size, limit, INTERVAL)
        segments.append(segment)
        return segment

    yield make
    for segment in segments:
        segment.close()


def encode(offset, count=1, body=b"message", time_ms=1000):
    return encode_frame(Batch(offset, count, pack(*[body] * count), time_ms))


def append(segment, *frames):
    segment.append([part for frame in frames for part in frame], [decode_header(header) for header, _ in frames])


def fill(segment, count=20):
    for offset in range(segment.base_offset, segment.base_offset + count):
        append(segment, encode(offset, time_ms=1000 + offset))


def offsets(frames):
    return [frame.offset for frame in frames]


def read_all(segment, report):
    found = []
    offset = segment.base_offset
    while frames := segment.read(offset, 1 << 20, report):
        found += offsets(frames)
        offset = frames[-1].next_offset
    return found


def test_names():
    assert name_of(38212, LOG) == "00000000000000038212.log"
    assert base_of("00000000000000038212.log", LOG) == 38212
    for name in ("1.log", "0" * 20, "0" * 21 + ".log", "0" * 20 + ".index", "9" * 20 + ".log", "-" + "0" * 19 + ".log"):
        assert base_of(name, LOG) is None
    assert base_of("²" * 20 + ".log", LOG) is None


def test_what_was_appended_is_read(make, findings):
    segment = make(5)
    segment.create()
    append(segment, encode(5, 2), encode(7, 3))
    append(segment, encode(10))
    assert segment.end_offset == 11
    assert offsets(segment.read(5, 1 << 20, findings.append)) == [5, 7, 10]
    assert offsets(segment.read(8, 1 << 20, findings.append)) == [7, 10], "the whole frame that holds it"
    assert segment.read(11, 1 << 20, findings.append) == []
    assert findings == []


def test_one_write_for_many_frames(make, files):
    calls = []
    files.write = lambda _fd, buffers, position: calls.append((len(buffers), position)) or sum(map(len, buffers))
    segment = make()
    segment.create()
    append(segment, *[encode(offset) for offset in range(5)])
    append(segment, encode(5))
    assert calls == [(10, 0), (2, 5 * SIZE)]


@pytest.mark.parametrize(
    ("max_bytes", "count"), [(0, 1), (1, 1), (2 * SIZE, 2), (3 * SIZE - 1, 2), (3 * SIZE, 3), (1 << 20, 20)]
)
def test_no_more_bytes_than_asked_for_but_always_one(make, findings, max_bytes, count):
    segment = make()
    segment.create()
    fill(segment)
    assert len(segment.read(0, max_bytes, findings.append)) == count


def test_a_segment_that_exists_is_not_made_again(make):
    make().create()
    with pytest.raises(FileExistsError):
        make().create()


# --- what goes wrong while writing


def test_a_failed_write_leaves_nothing(make, files, findings):
    segment = make()
    segment.create()
    fill(segment, 2)
    before = segment.size
    for takes in ([], [0], [10], [100], [10, 10]):
        files.takes = takes.copy()
        files.failures["write"] = [errno.ENOSPC]
        with pytest.raises(OSError, match="No space"):
            append(segment, encode(2), encode(3))
        assert os.path.getsize(segment.path) == segment.size == before
        assert segment.end_offset == 2
    append(segment, encode(2))
    assert read_all(segment, findings.append) == [0, 1, 2]
    assert findings == []


def test_a_short_write_that_goes_on_is_none(make, files, findings):
    segment = make()
    segment.create()
    files.takes = [10, 1]
    append(segment, encode(0), encode(1))
    assert read_all(segment, findings.append) == [0, 1]


def test_a_write_that_takes_nothing_means_no_room(files, tmp_path):
    fd = files.open(str(tmp_path / "file"), os.O_RDWR | os.O_CREAT)
    files.takes = [1, 0]
    with pytest.raises(OSError, match="No space") as caught:
        write_all(files, fd, [b"abc"], 0)
    assert caught.value.errno == errno.ENOSPC
    files.close(fd)


def test_what_cannot_be_cut_off_again_is_said(make, files):
    segment = make()
    segment.create()
    fill(segment, 1)
    files.takes = [80]
    files.failures = {"write": [errno.EIO], "truncate": [errno.EIO]}
    with pytest.raises(DamagedError, match="cannot be cut off"):
        append(segment, encode(1), encode(2))


def test_syncing_what_is_synced_costs_nothing(make, files):
    segment = make()
    segment.create()
    fill(segment, 1)
    segment.sync()
    files.failures["sync"] = [errno.EIO]
    segment.sync()
    fill(make(100), 0)
    append(segment, encode(1))
    with pytest.raises(OSError, match="Input/output"):
        segment.sync()
    assert segment.synced_size < segment.size


# --- recovery


def test_recovery_gives_the_same_index(make, findings):
    segment = make()
    segment.create()
    fill(segment)
    again = make()
    again.recover(findings.append)
    assert again.index.encode() == segment.index.encode()
    assert (again.size, again.synced_size, again.end_offset) == (segment.size, segment.size, 20)
    append(again, encode(20))
    assert read_all(again, findings.append) == list(range(21))
    assert findings == []


def test_a_torn_tail_is_cut_and_told(make, findings):
    segment = make()
    segment.create()
    fill(segment, 3)
    os.truncate(segment.path, segment.size - 4)
    again = make()
    again.recover(findings.append)
    (found,) = findings
    assert (found.kind, found.position, found.size, found.offset) == (Kind.TORN, 2 * SIZE, SIZE - 4, 2)
    assert str(found) == f"{segment.path}: torn at 140, 66 bytes: cut off: 66 of 70 bytes"
    assert os.path.getsize(segment.path) == again.size == 2 * SIZE
    append(again, encode(2, body=b"another"))
    assert read_all(again, findings.append) == [0, 1, 2]


def test_damage_stays_where_it_is(make, findings):
    segment = make()
    segment.create()
    fill(segment, 4)
    damage(segment.path, SIZE + 65)
    again = make()
    again.recover(findings.append)
    (found,) = findings
    assert (found.kind, found.position, found.size, found.offset, found.next_offset) == (Kind.DAMAGED, SIZE, SIZE, 1, 2)
    assert "messages 1 to 1" in str(found)
    assert again.size == 4 * SIZE
    assert read_all(again, lambda _finding: None) == [0, 2, 3]


def test_what_cannot_be_placed_is_kept_aside(make, findings, tmp_path):
    segment = make()
    segment.create()
    fill(segment, 6)
    with open(segment.path, "r+b") as file:
        file.seek(2 * SIZE + 16)
        file.write(b"?")  # no frame begins here, and the end is torn
        file.truncate(6 * SIZE - 1)
    with open(segment.path, "rb") as file:
        tail = file.read()[2 * SIZE :]
    make().recover(findings.append)
    assert [found.kind for found in findings] == [Kind.KEPT_ASIDE, Kind.TORN]
    assert (tmp_path / name_of(0, CUT)).read_bytes() == tail
    assert os.path.getsize(segment.path) == 2 * SIZE


def test_nothing_is_cut_that_could_not_be_kept_aside(make, files, findings):
    segment = make()
    segment.create()
    fill(segment, 6)
    damage(segment.path, 2 * SIZE + 16)
    os.truncate(segment.path, 6 * SIZE - 1)
    files.failures["write"] = [errno.ENOSPC]
    with pytest.raises(OSError, match="No space"):
        make().recover(findings.append)
    assert os.path.getsize(segment.path) == 6 * SIZE - 1


def damage(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


# --- the index


@pytest.fixture
def sealed(make):
    """A segment that another follows, as it is found later."""
    segment = make(100)
    segment.create()
    fill(segment)
    segment.seal(120)
    return make(100, segment.size, 120)


def test_a_sealed_segment_is_read_by_its_index(sealed, findings):
    assert read_all(sealed, findings.append) == list(range(100, 120))
    assert not sealed.index.is_built
    assert offsets(sealed.read(117, 1, findings.append)) == [117]
    assert offsets(sealed.frames_since(1110, findings.append))[0] == 110
    assert offsets(sealed.frames_since(1119, findings.append))[0] == 119
    assert offsets(sealed.frames_since(1120, findings.append)) == []
    assert findings == []


@pytest.mark.parametrize(
    "look",
    [
        lambda segment, report: segment.read(110, 1, report),
        lambda segment, report: segment.frames_since(1109, report),
        lambda segment, report: segment.read_run(110, 1, 200, report) or (),
    ],
)
def test_a_segment_that_is_sealed_while_somebody_begins_to_read_it(make, files, findings, monkeypatch, look):
    segment = make(100)
    segment.create()
    fill(segment, 10)
    really_open = files.open

    def grow(*arguments):
        monkeypatch.undo()
        for offset in range(110, 140):
            append(segment, encode(offset, time_ms=1000 + offset))
        segment.seal(140)
        segment.index = None
        return really_open(*arguments)

    monkeypatch.setattr(files, "open", grow)
    assert set(offsets(look(segment, findings.append))) <= set(range(109, 140))
    assert (findings, segment.is_sealed) == ([], True)


def test_an_index_is_in_its_file_before_its_segment_counts_as_sealed(make, files, monkeypatch):
    segment = make(100)
    segment.create()
    fill(segment)
    seen = []
    monkeypatch.setattr(files, "truncate", lambda _fd, _size: seen.append(segment.is_sealed))
    segment.seal(120)
    assert seen == [False]
    assert segment.is_sealed


def other_index(sealed):
    """A well made index that leads astray."""
    index = Index(100, INTERVAL)
    position = 0
    while position < sealed.size:
        header = decode_header(encode(index.end_offset)[0])._replace(length=100 - 12)
        if position + 100 > sealed.size:
            header = header._replace(length=sealed.size - position - 12)
        index.add(header._replace(last_offset_delta=0), position)
        position += header.size
    return index.encode()


WRONG = {
    "missing": (lambda _sealed, _data: None, "it is missing"),
    "empty": (lambda _sealed, _data: b"", "0 bytes are no index"),
    "short": (lambda _sealed, data: data[:-16], "the checksum is wrong"),
    "torn": (lambda _sealed, data: data[:-3], "bytes are no index"),
    "zeros": (lambda _sealed, data: bytes(len(data)), "does not begin"),
    "another": (lambda sealed, _data: other_index(sealed), "leads to position"),
}


@pytest.mark.parametrize(("change", "why"), WRONG.values(), ids=WRONG)
def test_a_wrong_index_is_made_again(sealed, findings, change, why):
    with open(sealed.index_path, "rb") as file:
        right = file.read()
    wrong = change(sealed, right)
    os.unlink(sealed.index_path)
    if wrong is not None:
        with open(sealed.index_path, "wb") as file:
            file.write(wrong)
    assert offsets(sealed.read(117, 1, findings.append)) == [117]
    (found,) = findings
    assert (found.kind, found.path) == (Kind.INDEX, sealed.index_path)
    assert why in found.text
    with open(sealed.index_path, "rb") as file:
        assert file.read() == right
    assert read_all(sealed, findings.append) == list(range(100, 120))
    assert len(findings) == 1


def test_an_index_of_less_than_the_segment_is_made_again(make, findings):
    segment = make()
    segment.create()
    fill(segment, 10)
    segment.save_index()
    append(segment, encode(10))
    again = make(0, segment.size, 11)
    assert read_all(again, findings.append) == list(range(11))
    assert [found.text for found in findings] == [f"it ends at {10 * SIZE} of {segment.size} bytes; made again"]


def test_no_room_for_an_index_is_no_error(make, files, findings):
    segment = make()
    segment.create()
    fill(segment)
    files.failures["write"] = [errno.ENOSPC]
    segment.seal(20)
    assert os.path.getsize(segment.index_path) == 0
    assert read_all(make(0, segment.size, 20), findings.append) == list(range(20))


def test_an_entry_whose_frame_is_damaged(sealed, findings):
    position = list(sealed.load_index(findings.append))[2][1]
    sealed.index = None
    damage(sealed.path, position + 64)
    lost = 100 + position // SIZE
    assert offsets(sealed.read(lost, 1, findings.append)) == [lost + 1]
    assert {found.kind for found in findings} == {Kind.DAMAGED, Kind.INDEX}
    assert read_all(sealed, findings.append) == [each for each in range(100, 120) if each != lost]


def test_a_time_is_found_behind_damage(sealed, findings):
    damage(sealed.path, 12 * SIZE + 64)
    assert offsets(sealed.frames_since(1112, findings.append))[0] == 113
    assert [(found.kind, found.offset, found.next_offset) for found in findings] == [(Kind.DAMAGED, 112, 113)]
    damage(sealed.path, 19 * SIZE + 64)
    assert offsets(sealed.frames_since(1119, findings.append)) == []
    assert (findings[-1].offset, findings[-1].next_offset) == (119, 120)


def test_an_index_of_more_than_the_segment_is_made_again(make, sealed, findings):
    os.truncate(sealed.path, 10 * SIZE)
    again = make(100, 10 * SIZE, 120)
    assert read_all(again, findings.append) == list(range(100, 110))
    assert [found.text for found in findings] == ["it tells of more than there is; made again"]


def test_a_sealed_segment_has_no_torn_tail(make, sealed, findings):
    os.truncate(sealed.path, sealed.size - 1)
    os.unlink(sealed.index_path)
    again = make(100, sealed.size - 1, 120)
    assert read_all(again, findings.append) == list(range(100, 119))
    found = next(each for each in findings if each.kind is Kind.DAMAGED)
    assert (found.offset, found.next_offset, found.size) == (119, 120, SIZE - 1)
    assert os.path.getsize(sealed.path) == sealed.size - 1


def test_removing_takes_both_files(sealed):
    sealed.remove()
    assert not os.path.exists(sealed.path)
    assert not os.path.exists(sealed.index_path)


def test_the_index_of_what_is_being_removed_is_not_made_again(sealed, files, findings, monkeypatch):
    """Its file goes first: whoever reads meanwhile finds that nothing is there."""
    remove = files.remove
    read = []

    def remove_and_read(path):
        remove(path)
        monkeypatch.undo()
        with pytest.raises(FileNotFoundError):
            read.append(sealed.read(117, 1, findings.append))

    monkeypatch.setattr(files, "remove", remove_and_read)
    sealed.remove()
    assert (read, findings) == ([], [])
    assert not os.path.exists(sealed.index_path)


def test_removing_needs_no_index(sealed):
    os.unlink(sealed.index_path)
    sealed.remove()
    assert not os.path.exists(sealed.path)


def test_the_index_lies_beside_it(make):
    assert make(7).index_path.endswith("/" + name_of(7, INDEX))
