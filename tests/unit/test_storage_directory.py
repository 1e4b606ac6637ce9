from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import closing

import pytest

from gstream.batch import Batch, pack
from gstream.errors import DiskFullError, LockedError, StorageError, VersionError
from gstream.storage.directory import Directory, is_partition, is_topic
from gstream.storage.files import Files
from gstream.storage.log import LogSettings


class FaultyFiles(Files):
    """Fails where it is told to, and notes in which order names reach the disk."""

    def __init__(self):
        self.failures = {}
        self.calls = []

    def _meet(self, call, path=""):
        self.calls.append((call, os.path.basename(path)))
        if code := self.failures.get(call):
            raise OSError(code, os.strerror(code), path or None)

    def open(self, path, flags=os.O_RDONLY):
        self._meet("open", path)
        return super().open(path, flags)

    def write(self, fd, buffers, position):
        self._meet("write")
        return super().write(fd, buffers, position)

    def sync(self, fd):
        self._meet("sync")
        super().sync(fd)

    def sync_directory(self, path):
        self._meet("sync directory", path)
        super().sync_directory(path)

    def make_directory(self, path):
        self._meet("make directory", path)
        super().make_directory(path)

    def rename(self, old, new):
        self._meet("rename", new)
        super().rename(old, new)


@pytest.fixture
def files():
    return FaultyFiles()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "data")


@pytest.fixture
def open_directory(path, files):
    opened = []
    findings = []

    def open_directory(settings=None):
        directory = Directory(path, findings.append, settings, files)
        opened.append(directory)
        return directory

    yield open_directory
    for directory in opened:
        directory.close()
    assert findings == []


@pytest.mark.parametrize(
    "name", ["default", "a", "A.b_c-9", "...", ".hidden", "-x", "x" * 249, "x" * 249 + ".dlq", "orders.dlq.dlq"]
)
def test_names_of_topics(name):
    assert is_topic(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a b", "a\0", "é", "x" * 250, "a\n", "x" * 254 + ".dlq"])
def test_what_is_no_name(name, open_directory):
    assert not is_topic(name)
    with pytest.raises(ValueError, match="no topic's name"):
        open_directory().open_log(name)


def test_names_of_partitions():
    assert all(map(is_partition, ["0", "9", "10", "12345"]))
    assert not any(map(is_partition, ["", "01", "-1", "1.5", "x", "123456", "٣"]))


def test_what_is_stored_is_found_again(open_directory, path):
    directory = open_directory()
    assert directory.topics() == {}
    for topic, partition in (("news", 0), ("orders", 1), ("orders", 0), ("orders", 10), ("orders", 2)):
        log = directory.open_log(topic, partition)
        log.append([Batch(0, 1, pack(f"{topic} {partition}".encode()))])
        log.close()
    directory.close()
    directory = open_directory()
    assert directory.topics() == {"news": [0], "orders": [0, 1, 2, 10]}
    log = directory.open_log("orders", 10)
    (batch,) = log.read(0, 1)
    assert batch.bodies() == [b"orders 10"]
    assert batch.partition == 10
    log.close()
    assert sorted(os.listdir(path)) == ["lock", "removed", "topics", "version"]


def test_the_settings_reach_the_logs(open_directory):
    log = open_directory(LogSettings(segment_bytes=100)).open_log("news")
    for _ in range(3):
        log.append([Batch(0, 1, pack(b"x" * 100))])
    assert len(log.segments()) == 3
    log.close()


def test_what_is_no_topic_is_left_alone(open_directory, path):
    directory = open_directory()
    os.makedirs(os.path.join(path, "topics", "news", "x"))
    os.makedirs(os.path.join(path, "topics", "not a topic"))
    with open(os.path.join(path, "topics", "file"), "w", encoding="utf-8"):
        pass
    assert directory.topics() == {"news": []}


def test_new_names_are_on_disk_before_they_are_used(open_directory, files):
    directory = open_directory()
    files.calls.clear()
    log = directory.open_log("news", 3)
    names = [call for call in files.calls if call[0] in ("make directory", "sync directory")]
    assert names == [
        ("make directory", "news"),
        ("sync directory", "topics"),
        ("make directory", "3"),
        ("sync directory", "news"),
    ]
    log.close()


# --- the lock


def test_one_process_has_it(open_directory, path):
    open_directory()
    with pytest.raises(LockedError) as caught:
        open_directory()
    assert str(caught.value) == f"{path}: in use by process {os.getpid()}"


def test_closing_gives_it_to_others(open_directory):
    open_directory().close()
    open_directory().close()


def test_a_killed_process_has_it_no_longer(open_directory, path):
    program = f"""
import os, signal
from gstream.storage.directory import Directory
Directory({path!r}, print)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    open_directory()


def test_another_process_is_named(open_directory, path):
    program = f"""
import sys
from gstream.storage.directory import Directory
Directory({path!r}, print)
print("open", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "open\n"
        with pytest.raises(LockedError, match=f"in use by process {child.pid}$"):
            open_directory()
        child.stdin.close()
    open_directory()


def test_no_room_for_the_number_is_no_error(open_directory, files, path):
    open_directory().close()
    files.failures["write"] = errno.ENOSPC
    directory = open_directory()
    with pytest.raises(LockedError, match="in use by process unknown"):
        open_directory()
    directory.close()


# --- the version


def test_the_version_is_written_whole_or_not_at_all(open_directory, files, path):
    open_directory()
    with open(os.path.join(path, "version"), "rb") as file:
        assert file.read() == b"gstream 1\n"
    calls = [call for call in files.calls if call[0] != "open"]
    renamed = calls.index(("rename", "version"))
    assert calls[renamed - 1][0] == "sync"
    assert calls[renamed + 1] == ("sync directory", "data")


def test_a_start_that_was_interrupted_is_done_again(open_directory, files, path):
    files.failures["rename"] = errno.EIO
    with pytest.raises(StorageError, match="Input/output error"):
        open_directory()
    assert sorted(os.listdir(path)) == ["lock", "version.new"]
    files.failures.clear()
    open_directory()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"gstream 2\n", "has version 2, this gstream reads 1"),
        (b"gstream 0\n", "has version 0, this gstream reads 1"),
        (b"", "its version cannot be read"),
        (b"gstream 1", "its version cannot be read"),
        (b"gstream 1\nmore", "its version cannot be read"),
        (b"something else\n", "its version cannot be read"),
    ],
)
def test_another_version_is_refused(open_directory, path, content, why):
    open_directory().close()
    with open(os.path.join(path, "version"), "wb") as file:
        file.write(content)
    with pytest.raises(VersionError) as caught:
        open_directory()
    assert str(caught.value) == f"{path}: {why}"
    with pytest.raises(VersionError):
        open_directory()  # not locked


def test_somebody_elses_directory_is_left_alone(open_directory, path):
    os.mkdir(path)
    with open(os.path.join(path, "thesis.txt"), "w", encoding="utf-8"):
        pass
    with pytest.raises(VersionError, match="neither empty nor a directory of gstream's"):
        open_directory()
    assert os.listdir(path) == ["thesis.txt"]


# --- what goes wrong


def test_a_file_in_its_place(open_directory, path):
    with open(path, "w", encoding="utf-8"):
        pass
    with pytest.raises(StorageError, match=f"^{path}: Not a directory$"):
        open_directory()


def test_nowhere_to_make_it(files, path):
    with pytest.raises(StorageError, match=f"^{path}/none: No such file or directory$"):
        Directory(path + "/none", print, None, files)


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.EACCES, StorageError), (errno.EROFS, StorageError), (errno.ENOSPC, DiskFullError)]
)
def test_a_directory_that_cannot_be_written(open_directory, files, path, code, kind):
    files.failures["open"] = code
    with pytest.raises(StorageError) as caught:
        open_directory()
    assert type(caught.value) is kind
    assert str(caught.value) == f"{path}/lock: {os.strerror(code)}"


def test_a_disk_that_knows_no_case(open_directory, files):
    directory = open_directory()
    make = files.make_directory

    def make_without_case(name):
        if os.path.basename(name) == "News":
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        make(name)

    is_directory = files.is_directory
    files.make_directory = make_without_case
    files.is_directory = lambda name: is_directory(name.replace("News", "news"))
    directory.open_log("news").close()
    with pytest.raises(StorageError, match="differs in case"):
        directory.open_log("News")


def test_a_topic_can_be_removed_where_no_directory_can_be_made(tmp_path):
    class Full(Files):
        def make_directory(self, path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    path = str(tmp_path / "data")
    with closing(Directory(path, print)) as directory:
        directory.open_log("news").close()
        directory._files = Full()
        directory.remove_topic("news")
        assert directory.topics() == {}
    assert os.listdir(os.path.join(path, "removed")) == []


def test_what_was_being_removed_is_gone_when_it_is_opened(tmp_path):
    path = str(tmp_path / "data")
    with closing(Directory(path, print)) as directory:
        directory.open_log("news").close()
    os.rename(os.path.join(path, "topics", "news"), os.path.join(path, "removed", "news"))
    with closing(Directory(path, print)) as directory:
        assert os.listdir(os.path.join(path, "removed")) == []
        assert directory.open_log("news").end_offset == 0
