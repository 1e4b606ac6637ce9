"""The pieces of files, as ``gstream publish`` reads them."""

from __future__ import annotations

import gc
import os

import click
import pytest

from gstream.cli.sources import read_pieces, total_size

CHUNK = 1 << 16
CONTENTS = {
    "empty": (b"", []),
    "one line": (b"a\n", [b"a"]),
    "no ending": (b"a", [b"a"]),
    "blank lines": (b"\n\r\n\n", [b"", b"", b""]),
    "CRLF": (b"a\r\nb\r\n", [b"a", b"b"]),
    "a CR at the end": (b"a\nb\r", [b"a", b"b"]),
    "a CR inside": (b"a\rb\n\rc\r\r\n", [b"a\rb", b"\rc\r"]),
    "NUL and 255": (b"\0\xff\n", [b"\0\xff"]),
    "a chunk exactly": (b"x" * (CHUNK - 1) + b"\ny\n", [b"x" * (CHUNK - 1), b"y"]),
    "a chunk without its ending": (b"x" * CHUNK, [b"x" * CHUNK]),
    "an ending alone in the next chunk": (b"x" * CHUNK + b"\ny", [b"x" * CHUNK, b"y"]),
    "a CRLF cut in two": (b"x" * (CHUNK - 1) + b"\r\ny\r\n", [b"x" * (CHUNK - 1), b"y"]),
    "longer than a chunk": (b"a\n" + b"x" * 200_000 + b"\nb\n", [b"a", b"x" * 200_000, b"b"]),
    "longer than a chunk, no ending": (b"a\n" + b"x" * 200_000, [b"a", b"x" * 200_000]),
    "many": (b"".join(b"%d\n" % number for number in range(50_000)), [b"%d" % number for number in range(50_000)]),
}


@pytest.mark.parametrize(("content", "lines"), CONTENTS.values(), ids=CONTENTS.keys())
def test_lines_of_a_file(content, lines, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    pieces = list(read_pieces((str(path),)))
    assert [line for _, piece in pieces for line in piece] == lines


def test_the_sizes_add_up_to_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a\n" + b"x" * 200_000 + b"\nb")
    assert sum(size for size, _ in read_pieces((str(path),))) == 200_004


def test_files_are_not_glued_together(tmp_path):
    (tmp_path / "a").write_bytes(b"1\n2")
    (tmp_path / "b").write_bytes(b"3\n")
    pieces = read_pieces((str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "a")))
    assert [line for _, lines in pieces for line in lines] == [b"1", b"2", b"3", b"1", b"2"]


def test_lines_are_there_as_soon_as_they_are_written():
    reading, writing = os.pipe()
    pieces = (lines for _, lines in read_pieces((f"/dev/fd/{reading}",)) if lines)
    os.write(writing, b"one\ntwo\nthr")
    assert next(pieces) == [b"one", b"two"]
    os.write(writing, b"ee\r")
    os.write(writing, b"\n")
    assert next(pieces) == [b"three"]
    os.write(writing, b"four")
    os.close(writing)
    assert list(pieces) == [[b"four"]]
    os.close(reading)


def test_a_file_is_closed_however_reading_it_ends(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a\n" * 100_000)
    gc.collect()
    before = sorted(os.listdir("/dev/fd"))
    list(read_pieces((str(path),)))
    assert sorted(os.listdir("/dev/fd")) == before
    pieces = read_pieces((str(path),))
    next(pieces)
    pieces.close()
    assert sorted(os.listdir("/dev/fd")) == before
    with pytest.raises(click.ClickException):
        list(read_pieces((str(tmp_path),)))
    assert sorted(os.listdir("/dev/fd")) == before


NUL = {
    "lines": (b"a\nb\0c\r\0\n\0", [b"a\nb", b"c\r", b"\n"]),
    "no ending": (b"a\0b", [b"a", b"b"]),
    "empty ones": (b"\0\0", [b"", b""]),
    "over chunks": (b"x" * (CHUNK - 1) + b"\0" + b"y\n" * CHUNK, [b"x" * (CHUNK - 1), b"y\n" * CHUNK]),
}


@pytest.mark.parametrize(("content", "pieces"), NUL.values(), ids=NUL.keys())
def test_pieces_that_end_in_nul(content, pieces, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert [piece for _, some in read_pieces((str(path),), b"\0") for piece in some] == pieces


def test_the_size_is_known_when_all_are_files(tmp_path):
    for name, size in (("a", 10), ("b", 20)):
        (tmp_path / name).write_bytes(b"x" * size)
    paths = [str(tmp_path / name) for name in "ab"]
    assert total_size(tuple(paths)) == 30
    assert total_size((*paths, "-")) is None
    assert total_size(()) is None
