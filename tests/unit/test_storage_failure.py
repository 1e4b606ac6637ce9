"""What is told of an error, and what is logged: a bug, with where it is, and nothing else."""

from __future__ import annotations

from gstream.errors import DiskFullError, StorageError
from gstream.storage.failure import failure


def test_an_error_of_the_storage_is_told_as_it_is_and_not_logged_here(caplog):
    error = DiskFullError("no space")
    assert failure(error, "writing") is error
    assert not caplog.records


def test_a_bug_is_logged_and_told_as_one(caplog):
    bug = IndexError("out of range")
    told = failure(bug, "writing", topic="orders")
    assert (type(told), str(told)) == (StorageError, "a bug in the server: out of range")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), record.topic) == ("ERROR", "bug: writing failed", "orders")
    assert record.exc_info[1] is bug
