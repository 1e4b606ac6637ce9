from __future__ import annotations

import errno
import os
from contextlib import contextmanager

import pytest

from gstream.errors import DiskFullError, StorageError
from gstream.storage.files import Files, storage_error


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def fd(files, tmp_path):
    fd = files.open(str(tmp_path / "file"), os.O_RDWR | os.O_CREAT)
    yield fd
    files.close(fd)


def test_what_was_written_is_read(files, fd):
    assert files.write(fd, [b"one", b"", memoryview(b"two")], 0) == 6
    assert files.write(fd, [b"three"], 8) == 5
    assert files.read(fd, 100, 0) == b"onetwo\0\0three"
    assert files.read(fd, 3, 3) == b"two"
    assert files.read(fd, 3, 13) == b""
    assert files.size(fd) == 13
    files.truncate(fd, 2)
    files.sync(fd)
    files.forget(fd)
    assert files.read(fd, 100, 0) == b"on"


def test_more_buffers_than_one_call_takes(files, fd):
    buffers = [b"%d " % number for number in range(3000)]
    assert files.write(fd, buffers, 0) == sum(map(len, buffers))
    assert files.read(fd, 1 << 20, 0) == b"".join(buffers)


def test_descriptors_are_not_inherited_and_files_are_not_for_everybody(files, fd, tmp_path):
    assert not os.get_inheritable(fd)
    assert (tmp_path / "file").stat().st_mode & 0o137 == 0
    files.make_directory(str(tmp_path / "directory"))
    assert (tmp_path / "directory").stat().st_mode & 0o027 == 0


def test_a_lock_is_taken_once_and_ends_with_its_descriptor(files, fd, tmp_path):
    assert files.lock(fd)
    other = files.open(str(tmp_path / "file"))
    assert not files.lock(other)
    files.close(other)
    again = files.open(str(tmp_path / "file"))
    assert files.lock(fd), "one may take it twice"
    files.close(again)


def test_names_and_sizes(files, tmp_path):
    here = str(tmp_path)
    files.make_directory(os.path.join(here, "inner"))
    for name, content in {"b": b"12", "a": b""}.items():
        (tmp_path / name).write_bytes(content)
    assert files.names(here) == ["a", "b", "inner"]
    assert files.sizes(here) == {"a": 0, "b": 2}
    assert files.is_directory(os.path.join(here, "inner"))
    assert not files.is_directory(os.path.join(here, "a"))
    assert not files.is_directory(os.path.join(here, "none"))
    files.rename(os.path.join(here, "b"), os.path.join(here, "a"))
    files.sync_directory(here)
    assert files.sizes(here) == {"a": 2}
    files.remove(os.path.join(here, "a"))
    assert files.names(here) == ["inner"]
    with pytest.raises(FileExistsError):
        files.make_directory(os.path.join(here, "inner"))
    with pytest.raises(FileNotFoundError):
        files.open(os.path.join(here, "a"))


def test_files_that_vanish_while_one_looks_have_no_size(files, tmp_path, monkeypatch):
    scan = os.scandir

    @contextmanager
    def scan_and_remove(path):
        """Both are gone before one is looked at; what a file is was told with its name, unless it is a link."""
        with scan(path) as entries:
            found = list(entries)
        (tmp_path / "file").unlink()
        (tmp_path / "link").unlink()
        yield found

    for name in ("file", "stays"):
        (tmp_path / name).write_bytes(b"12")
    (tmp_path / "link").symlink_to("stays")
    monkeypatch.setattr(os, "scandir", scan_and_remove)
    assert files.sizes(str(tmp_path)) == {"stays": 2}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_told_from_other_failures(code):
    error = storage_error(OSError(code, os.strerror(code)), "some/file")
    assert type(error) is DiskFullError
    assert str(error) == f"some/file: {os.strerror(code)}"


def test_other_failures_name_the_file():
    error = storage_error(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "some/file")
    assert type(error) is StorageError
    assert str(error) == "some/file: Permission denied"
    assert str(storage_error(OSError("odd"), "some/file")) == "some/file: odd"
