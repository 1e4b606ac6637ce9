from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from gstream.logs import JsonFormatter, TextFormatter, configure_logging


@pytest.fixture(autouse=True)
def _logger_as_before():
    logger = logging.getLogger("gstream")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before


def record(event, *arguments, level=logging.INFO, exc_info=None, **facts):
    made = logging.LogRecord("gstream.server", level, __file__, 1, event, arguments, exc_info)
    made.created = 1_795_512_600.1234
    for name, value in facts.items():
        setattr(made, name, value)
    return made


TIME = "2026-11-24T09:30:00.123Z"


def fail():
    raise RuntimeError("a bug\nof two lines")


def caught():
    try:
        fail()
    except RuntimeError:
        return sys.exc_info()


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (record("listening"), f"{TIME} info listening"),
        (record("cannot accept: %s", "why", level=logging.WARNING), f"{TIME} warning cannot accept: why"),
        (
            record("client gone", connection=12, client="127.0.0.1:5"),
            f"{TIME} info client gone connection=12 client=127.0.0.1:5",
        ),
        (record("error", level=logging.ERROR), f"{TIME} error error"),
    ],
)
def test_text(made, text):
    assert TextFormatter().format(made) == text


@pytest.mark.parametrize(
    ("made", "row"),
    [
        (record("listening"), {"time": TIME, "level": "info", "event": "listening"}),
        (
            record("client gone", connection=12, endpoints=["a", "b"]),
            {"time": TIME, "level": "info", "event": "client gone", "connection": 12, "endpoints": ["a", "b"]},
        ),
        (
            record("cannot accept: %s", "why", level=logging.WARNING),
            {"time": TIME, "level": "warning", "event": "cannot accept: why"},
        ),
        (record("odd", kind=int), {"time": TIME, "level": "info", "event": "odd", "kind": "<class 'int'>"}),
    ],
)
def test_json(made, row):
    assert json.loads(JsonFormatter().format(made)) == row


FORGED = "client\r\n2026-11-24T09:30:00.123Z info forged"


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_a_newline_in_a_message_forges_no_line(formatter):
    for made in (record("event: %s", FORGED), record(FORGED)):
        line = formatter.format(made)
        assert "\n" not in line
        assert "\r" not in line
        assert "forged" in line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_a_newline_in_a_fact_forges_no_line(formatter):
    line = formatter.format(record("listening", endpoints=FORGED))
    assert "\n" not in line
    assert "\r" not in line
    assert "forged" in line


def test_text_ends_with_the_traceback():
    first, *others = TextFormatter().format(record("bug", exc_info=caught(), connection=1)).splitlines()
    assert first == f"{TIME} info bug connection=1"
    assert others[0] == "Traceback (most recent call last):"
    assert others[-2:] == ["RuntimeError: a bug", "of two lines"]


def test_json_holds_the_traceback_in_its_line():
    line = JsonFormatter().format(record("bug", exc_info=caught()))
    assert "\n" not in line
    traceback = json.loads(line)["traceback"]
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert traceback.endswith("RuntimeError: a bug\nof two lines")


@pytest.mark.parametrize(
    ("level", "events"),
    [("debug", ["a", "b", "c", "d"]), ("info", ["b", "c", "d"]), ("warning", ["c", "d"]), ("error", ["d"])],
)
def test_a_level_is_logged_and_those_above(level, events):
    stream = io.StringIO()
    configure_logging(level, as_json=True, stream=stream)
    log = logging.getLogger("gstream.server")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d", extra={"connection": 1})
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == events


def test_text_goes_to_standard_error_and_nowhere_else(capsys, caplog):
    configure_logging("info", as_json=False)
    logging.getLogger("gstream.service").info("listening", extra={"port": 1})
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("Z info listening port=1\n")
    assert caplog.records == []


def test_configuring_again_replaces_what_was():
    first, second = io.StringIO(), io.StringIO()
    configure_logging("info", as_json=False, stream=first)
    configure_logging("info", as_json=False, stream=second)
    logging.getLogger("gstream").info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
