"""Log lines: what the standard library's logging is told to print, for people or for machines.

An event is a fixed text; its facts are the record's ``extra``. Owns the two formats and where they go.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import IO, Any

__all__ = ["JsonFormatter", "TextFormatter", "configure_logging"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """``2026-11-24T09:30:00.123Z info client gone connection=12 messages=1``, then the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        facts = "".join(f" {name}={value}" for name, value in _facts(record).items())
        event = f"{record.getMessage()}{facts}".replace("\n", "\\n").replace("\r", "\\r")
        line = f"{_time(record)} {record.levelname.lower()} {event}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, the facts, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        row = {"time": _time(record), "level": record.levelname.lower(), "event": record.getMessage()}
        row |= _facts(record)
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row, default=str)


def configure_logging(level: str, *, as_json: bool, stream: IO[str] | None = None) -> None:
    """Send what gstream logs, from ``level`` on, to ``stream`` (standard error); for the command line only."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logger = logging.getLogger("gstream")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
