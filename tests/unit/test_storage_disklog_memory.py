"""A log of the disk engine: what of it is in memory. No file is touched."""

from __future__ import annotations

import pytest

from gstream.batch import Batch, pack
from gstream.storage.budget import Budget
from gstream.storage.converted import Converted
from gstream.storage.disklog import DiskLog
from gstream.storage.facts import Facts


class Cache(Budget):
    """As much of the disk engine as a log's memory needs."""

    def __init__(self):
        super().__init__(1 << 30)
        self.cached_bytes = 0
        self.told = 0
        self.commits = 0
        self.state = self
        self.facts = Facts()
        self.converted = Converted()

    def commit(self):
        self.commits += 1

    def cached(self, _log):
        self.told += 1


@pytest.fixture
def cache():
    return Cache()


@pytest.fixture
def log(cache):
    return DiskLog(cache, "t", 0, None)


def stored(log, *bodies):
    """These were written, and can be read now."""
    log.take_in([Batch(log.end_offset, len(bodies), pack(*bodies), 1)])


def test_what_was_stored_is_in_memory(log, cache):
    stored(log, b"a", b"b")
    assert (cache.cached_bytes, cache.told) == (6, 1)
    assert [batch.bodies() for batch in log.read_on(0, 10, 100)] == [[b"a", b"b"]]


def test_the_oldest_goes_from_memory(log, cache):
    stored(log, bytes(100_000))
    stored(log, b"a")
    assert not log.drop_oldest()
    assert (cache.cached_bytes, log.first_offset, log.end_offset) == (3, 1, 2)
    assert log.drop_oldest()
    assert (cache.cached_bytes, log.first_offset, log.end_offset) == (0, 2, 2)


def test_an_empty_memory_has_nothing_to_drop(log, cache):
    """The engine asks a log that had something the last time; meanwhile that may have gone from the disk."""
    stored(log, b"a", b"b")
    log.forget_before(2)
    for _ in range(2):
        assert log.drop_oldest()
    assert cache.cached_bytes == 0
    stored(log, b"c")
    assert [(batch.offset, batch.bodies()) for batch in log.read_on(0, 10, 100)] == [(2, [b"c"])]


@pytest.mark.parametrize("end", [0, 1, 2, 5])
def test_a_log_that_was_reopened_goes_on_where_its_files_end(log, cache, end):
    stored(log, b"a", b"b")
    log.restart(end)
    assert (log.first_offset, log.end_offset, log.next_offset, cache.cached_bytes) == (end, end, end, 0)
    assert log.drop_oldest()
    stored(log, b"c")
    assert [(batch.offset, batch.bodies()) for batch in log.read_on(0, 10, 100)] == [(end, [b"c"])]
