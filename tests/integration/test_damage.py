"""A log whose files were damaged in every way that one accident can do.

It opens, serves everything before the damage, serves what is behind it wherever that can be found, invents nothing, and
says what it has left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gstream.batch import Batch, Message, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.storage.check import verify
from gstream.storage.files import Files
from gstream.storage.finding import Finding, Kind
from gstream.storage.frame import Frame, encode_frame
from gstream.storage.log import Log, LogSettings

FRAMES = 8
EACH = 8
MESSAGES = FRAMES * EACH
SETTINGS = LogSettings(interval_bytes=250)
BLOCK = 64
"""Stands for a disk's block in a segment this small."""


class QuietFiles(Files):
    """Syncs nothing: power stays on here, and there are ten thousand logs to open."""

    def sync(self, fd: int) -> None:
        """Nothing."""

    def sync_directory(self, path: str) -> None:
        """Nothing."""


FILES = QuietFiles()


def make_batch(number: int) -> Batch:
    """Eight messages; every other batch is counted, and its last message holds the bytes of a frame."""
    if number % 2:
        bodies = [b"%d\n%d" % (number, each) for each in range(EACH - 1)]
        bodies.append(b"".join(encode_frame(Batch(1000 + number, 1, b"p\n"))))
        return CountedBatch(0, EACH, b"".join(pack_counted(body, b"key") for body in bodies), 1000 + number)
    return Batch(0, EACH, pack(*[b"%d %d" % (number, each) for each in range(EACH)]), 1000 + number)


class Original:
    """The log before anything happened to it.

    messages: all of them, by offset. frames: of the first segment, which has them all. log, index: the bytes of its
    files.
    """

    def __init__(self, directory: Path) -> None:
        log = Log(str(directory), fail, SETTINGS, FILES)
        for number in range(FRAMES):
            log.append([make_batch(number)])
        self.frames: list[Frame] = log.read_frames(0, 1 << 20)
        self.messages: dict[int, Message] = {
            message.offset: message for frame in self.frames for message in frame.batch().messages()
        }
        log.close()
        self.log = (directory / NAME).read_bytes()
        self.index = (directory / INDEX_NAME).read_bytes()
        assert len(self.messages) == MESSAGES
        assert self.frames[-1].end == len(self.log)

    def before(self, position: int) -> int:
        """The offset behind the last message that lies before this position as a whole."""
        return max((frame.next_offset for frame in self.frames if frame.end <= position), default=0)

    def touched(self, start: int, end: int) -> set[int]:
        """The offsets of the messages whose frames have bytes from ``start`` to ``end``."""
        return {
            offset
            for frame in self.frames
            if frame.position < end and start < frame.end
            for offset in range(frame.offset, frame.next_offset)
        }


NAME = f"{0:020d}.log"
INDEX_NAME = f"{0:020d}.index"
FOLLOWING = f"{MESSAGES:020d}.log"
LAST = {*range(MESSAGES - EACH, MESSAGES)}
FOLLOWING_DATA = b"".join(encode_frame(Batch(MESSAGES, 1, pack(b"following"), 9000)))


def fail(finding: Finding) -> None:
    raise AssertionError(finding)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(tmp_path_factory.mktemp("original"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


def serve(log: Log) -> list[Message]:
    """All messages that the log serves, in order."""
    served: list[Message] = []
    offset = 0
    while batches := log.read(offset, 500):
        for batch in batches:
            served += batch.messages()
            offset = batch.offset + batch.count
    return served


Served = tuple[set[int], list[Finding]]


def check_last(
    original: Original, directory: Path, data: bytes, index: bytes | None = None, *, twice: bool = True
) -> Served:
    """Open a log whose last segment has these bytes; gives the offsets that were lost, and what was found.

    twice: open it once more, and see that it is as it was left.
    """
    write(directory, {NAME: data, INDEX_NAME: index})
    findings: list[Finding] = []
    log = Log(str(directory), findings.append, SETTINGS, FILES)
    lost = check_served(original, serve(log))
    assert log.size == os.path.getsize(directory / NAME)
    end = log.end_offset
    log.append([Batch(0, 1, pack(b"new"), 5000)])
    assert [message.body for message in log.read(end, 1)[0].messages()] == [b"new"]
    log.close()
    if not twice:
        return lost, findings
    again = Log(str(directory), lambda found: same(findings, found), SETTINGS, FILES)
    assert {message.offset for message in serve(again)} == {*range(MESSAGES)} - lost | {end}
    again.close()
    return lost, findings


def same(before: list[Finding], found: Finding) -> None:
    """The second time there is nothing to be cut, and the rest is where it was."""
    assert found.kind is Kind.DAMAGED
    assert (found.position, found.offset) in [(each.position, each.offset) for each in before]


def check_sealed(original: Original, directory: Path, data: bytes, index: bytes | None = None) -> Served:
    """The same for a segment that another follows."""
    write(directory, {NAME: data, INDEX_NAME: index, FOLLOWING: FOLLOWING_DATA})
    findings: list[Finding] = []
    log = Log(str(directory), findings.append, SETTINGS, FILES)
    assert findings == [], "it is not looked at yet"
    *served, following = serve(log)
    assert (following.offset, following.body) == (MESSAGES, b"following")
    lost = check_served(original, served)
    for offset in range(0, MESSAGES, 7):  # by its index, wherever one begins
        batches = log.read(offset, 1)
        assert batches[0].offset == min({*range(offset, MESSAGES + 1)} - lost)
    assert (directory / NAME).read_bytes() == data, "nothing in it changes"
    log.close()
    assert not lost or any(found.kind is Kind.DAMAGED for found in verify(str(directory), files=FILES))
    return lost, findings


def write(directory: Path, contents: dict[str, bytes | None]) -> None:
    for path in directory.iterdir():
        path.unlink()
    for name, content in contents.items():
        if content is not None:
            (directory / name).write_bytes(content)


def check_served(original: Original, served: list[Message]) -> set[int]:
    """Nothing is invented, nothing comes twice or in another order; gives the offsets that are missing."""
    offsets = [message.offset for message in served]
    assert offsets == sorted(set(offsets))
    for message in served:
        assert message == original.messages[message.offset]
    return {*range(MESSAGES)} - set(offsets)


def check_lost(lost: set[int], touched: set[int], findings: list[Finding]) -> None:
    """No more is lost than was touched. Where two headers are gone, nothing bears out the very last frame's offset."""
    if not lost <= touched:
        assert lost <= touched | LAST
        assert findings[-2].kind is Kind.KEPT_ASIDE


def kinds(findings: list[Finding]) -> list[Kind]:
    """What was found; without that it was kept aside, because a message of it held a frame."""
    return [found.kind for found in findings if found.kind is not Kind.KEPT_ASIDE]


def flips(data: bytes, bit: int) -> Iterator[tuple[int, bytes]]:
    """Each byte's position, with this of its bits flipped."""
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << bit
        yield position, bytes(changed)


def is_epoch(original: Original, position: int) -> bool:
    """Whether this is a byte of a leader epoch: the only ones that mean nothing."""
    return any(frame.position + 12 <= position < frame.position + 16 for frame in original.frames)


# --- the last segment


def test_cut_at_every_byte(original: Original, directory: Path) -> None:
    for end in range(len(original.log)):
        lost, findings = check_last(original, directory, original.log[:end])
        kept = original.before(end)
        assert lost == {*range(kept, MESSAGES)}
        torn = end - max((frame.end for frame in original.frames if frame.end <= end), default=0)
        assert [(found.kind, found.size) for found in findings] == ([(Kind.TORN, torn)] if torn else [])


@pytest.mark.parametrize("bit", range(8))
def test_every_bit_flipped(original: Original, directory: Path, bit: int) -> None:
    last = original.frames[-1].position
    for position, data in flips(original.log, bit):
        lost, findings = check_last(original, directory, data, twice=position % 8 == 0)
        if is_epoch(original, position):
            assert (lost, findings) == (set(), [])
        else:
            assert lost == original.touched(position, position + 1)
            assert kinds(findings) == [Kind.TORN if position >= last else Kind.DAMAGED]


def test_the_tail_is_zeroed(original: Original, directory: Path) -> None:
    size = len(original.log)
    for start in range(size):
        data = original.log[:start] + bytes(size - start)
        end = next(
            at for at in range(start, size + 1) if data[:at] == original.log[:at] and data[at:] != original.log[at:]
        )
        lost, findings = check_last(original, directory, data)
        assert lost == {*range(original.before(end), MESSAGES)}
        assert [found.kind for found in findings] == [Kind.TORN]


def test_zeros_behind_the_end(original: Original, directory: Path) -> None:
    lost, findings = check_last(original, directory, original.log + bytes(5000))
    assert lost == set()
    assert [(found.kind, found.size) for found in findings] == [(Kind.TORN, 5000)]


def test_a_block_takes_the_place_of_another(original: Original, directory: Path) -> None:
    data = original.log
    for start in range(0, len(data) - 2 * BLOCK, 13):
        block = data[start : start + BLOCK]
        changed = data[: start + BLOCK] + block + data[start + 2 * BLOCK :]
        lost, findings = check_last(original, directory, changed)
        check_lost(lost, original.touched(start + BLOCK, start + 2 * BLOCK), findings)
        assert bool(findings) == bool(lost)


def test_a_block_is_repeated(original: Original, directory: Path) -> None:
    data = original.log
    for start in range(0, len(data) - BLOCK, 13):
        block = data[start : start + BLOCK]
        lost, findings = check_last(original, directory, data[: start + BLOCK] + block + data[start + BLOCK :])
        assert lost <= original.touched(start + BLOCK - 1, start + BLOCK + 1)
        assert findings


def test_frames_are_repeated(original: Original, directory: Path) -> None:
    data = original.log
    for first, last in ((0, 0), (3, 5), (0, FRAMES - 1), (FRAMES - 1, FRAMES - 1)):
        start, end = original.frames[first].position, original.frames[last].end
        lost, findings = check_last(original, directory, data[:end] + data[start:end] + data[end:])
        assert lost == set()
        assert kinds(findings) == [Kind.TORN if end == len(data) else Kind.DAMAGED]
        assert findings[0].size == end - start


def test_a_block_is_missing(original: Original, directory: Path) -> None:
    data = original.log
    for start in range(0, len(data) - BLOCK, 13):
        lost, findings = check_last(original, directory, data[:start] + data[start + BLOCK :])
        check_lost(lost, original.touched(start, start + BLOCK), findings)
        assert findings


# --- a sealed segment


@pytest.mark.parametrize("bit", range(8))
def test_every_bit_of_a_sealed_segment_flipped(original: Original, directory: Path, bit: int) -> None:
    for position, data in flips(original.log, bit):
        lost, findings = check_sealed(original, directory, data, original.index)
        if is_epoch(original, position):
            assert (lost, findings) == (set(), [])
        else:
            assert lost == original.touched(position, position + 1)
            assert Kind.DAMAGED in {found.kind for found in findings}


def test_a_sealed_segment_cut_at_every_byte(original: Original, directory: Path) -> None:
    for end in range(len(original.log)):
        lost, findings = check_sealed(original, directory, original.log[:end], original.index)
        assert lost == {*range(original.before(end), MESSAGES)}
        assert Kind.INDEX in {found.kind for found in findings}


Change = Callable[[bytes], Iterator[bytes]]


def cuts(data: bytes) -> Iterator[bytes]:
    return (data[:end] for end in range(len(data)))


def zeroed(data: bytes) -> Iterator[bytes]:
    return (data[:start] + bytes(len(data) - start) for start in range(len(data) - 1))


def repeated(data: bytes) -> Iterator[bytes]:
    return (data[:at] + data[at - 16 : at] + data[at:] for at in range(16, len(data)))


def flipped(data: bytes) -> Iterator[bytes]:
    return (changed for bit in range(8) for _, changed in flips(data, bit))


@pytest.mark.parametrize("change", [cuts, zeroed, repeated, flipped])
def test_an_index_is_never_believed(original: Original, directory: Path, change: Change) -> None:
    for index in change(original.index):
        lost, findings = check_sealed(original, directory, original.log, index)
        assert lost == set()
        assert [found.kind for found in findings] == [Kind.INDEX]
        assert (directory / INDEX_NAME).read_bytes() == original.index, "made again"


def test_a_missing_index(original: Original, directory: Path) -> None:
    lost, findings = check_sealed(original, directory, original.log)
    assert lost == set()
    assert [found.kind for found in findings] == [Kind.INDEX]


def test_the_last_segments_index_is_not_even_read(original: Original, directory: Path) -> None:
    for index in (b"", original.index[:-1], bytes(100), original.index):
        assert check_last(original, directory, original.log, index) == (set(), [])
