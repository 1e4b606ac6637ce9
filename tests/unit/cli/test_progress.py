"""When ``gstream publish`` and ``gstream bench`` show a bar, and that it leaves nothing behind."""

from __future__ import annotations

import io
import sys

import pytest

from gstream.cli import progress
from gstream.cli.sources import is_typed


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def test_it_appears_after_a_second_and_is_gone_at_the_end(monkeypatch, clock):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.Progress(10) as bar:
        bar.advance(1, "1 message")
        assert terminal.getvalue() == ""
        clock[0] += 1.0
        bar.advance(4, "5 messages")
    shown = terminal.getvalue()
    assert "5 messages" in shown
    assert "1 message " not in shown
    assert shown.endswith("\x1b[2K")  # the line is erased


@pytest.mark.parametrize(("stream", "wanted"), [(Terminal, False), (io.StringIO, True)], ids=["not wanted", "a file"])
def test_there_is_none_where_it_is_not_wanted_or_no_terminal(monkeypatch, clock, stream, wanted):
    errors = stream()
    monkeypatch.setattr(sys, "stderr", errors)
    with progress.Progress(None, wanted=wanted) as bar:
        clock[0] += 2.0
        bar.advance(1, "1 message")
    assert errors.getvalue() == ""


@pytest.mark.parametrize(
    ("files", "terminal", "typed"),
    [((), True, True), (("a", "-"), True, True), (("a",), True, False), ((), False, False)],
    ids=str,
)
def test_what_is_typed(monkeypatch, files, terminal, typed):
    monkeypatch.setattr(sys, "stdin", Terminal() if terminal else io.StringIO())
    assert is_typed(files) is typed


def test_it_makes_room_and_comes_back(monkeypatch, clock):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.Progress(None) as bar:
        bar.total = 10
        bar.hide()  # before it was ever shown
        clock[0] += 1.0
        bar.advance(1, "1 byte")
        bar.hide()
        shown = terminal.getvalue()
        assert shown.endswith("\x1b[2K")
        bar.advance(1, "2 bytes")
        assert terminal.getvalue() == shown
        clock[0] += 1.0
        bar.advance(1, "3 bytes")
    assert "3 bytes" in terminal.getvalue()
    assert "2 bytes" not in terminal.getvalue()
