"""Every session of docs/protocol.md, played against a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gstream.config import load_config
from gstream.protocol import BANNER
from gstream.service import Service
from gstream.testing import ServerThread, Session, wait_until

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
BLOCK = re.compile(r"^```session(?P<options>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
STEP = re.compile(r"(?P<who>[A-Z]?)(?P<direction>[<>]) ?(?P<text>.*)")
STAYS = re.compile(r"(?:[wr](?:[1-9][0-9]*(?: [0-9]+)?)?|s(?:[1-9][0-9]*)?)(?:\\r)?")
"""Commands that may go on after they were read."""
ESCAPES = {"r": b"\r", "n": b"\n", "0": b"\0", "\\": b"\\"}


@dataclass(frozen=True)
class Play:
    """One session of the document."""

    line: int
    options: dict[str, str]
    steps: list[re.Match[str]]


def read_plays() -> Iterator[Play]:
    document = DOCUMENT.read_text(encoding="utf-8")
    for block in BLOCK.finditer(document):
        options = dict(option.split("=") for option in block["options"].split())
        steps = [STEP.fullmatch(line) for line in block["text"].splitlines()]
        assert all(steps), f"a step that is none in {block[0]}"
        yield Play(document.count("\n", 0, block.start()) + 1, options, [step for step in steps if step])


def to_bytes(text: str) -> bytes:
    """A line of a session as the bytes it stands for."""
    ended = not re.search(r"(?<!\\)(\\\\)*\\$", text)
    text = text if ended else text[:-1]

    def escape(match: re.Match[str]) -> bytes:
        code = match[0][1:]
        return bytes([int(code[1:], 16)]) if code[0] == "x" else ESCAPES[code]

    parts = re.split(r"(\\(?:x[0-9a-f]{2}|[rn0\\]))", text)
    data = b"".join(escape(m) if (m := re.fullmatch(r"\\(.*)", part)) else part.encode() for part in parts)
    return data + b"\n" * ended


PLAYS = list(read_plays())


def test_the_document_has_sessions() -> None:
    assert len(PLAYS) == DOCUMENT.read_text(encoding="utf-8").count("```session")
    assert len(PLAYS) > 10


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: f"line-{play.line}")
def test_session(play: Play) -> None:
    loaded = load_config(play.options, {})
    settings = {name: getattr(loaded.config, name) for name, source in loaded.sources.items() if source == "flag"}
    about_banner = to_bytes(play.steps[0]["text"]) in BANNER
    with ServerThread(**settings) as server:
        clients: dict[str, Session] = {}
        try:
            for step in play.steps:
                who = step["who"]
                if who not in clients:
                    clients[who] = Session(server, banner=b"" if about_banner else BANNER)
                if step["text"] == "(closes)":
                    with clients.pop(who) as client:
                        client.expect_closed()
                    wait_until(lambda: server.call(count_connections) == len(clients), "it has given back what it had")
                else:
                    act(server, clients[who], step["direction"], step["text"])
        finally:
            for client in clients.values():
                client.close()


def act(server: ServerThread, client: Session, direction: str, text: str) -> None:
    if text == "(half-closes)":
        client.half_close()
    elif text == "(nothing)":
        client.expect_nothing()
    elif direction == ">":
        before = server.call(read_counters)
        client.send(to_bytes(text))
        if STAYS.fullmatch(text):  # the order in which clients begin to wait is part of the session
            wait_until(lambda: server.call(read_counters) != before, f"{text} is executed")
    else:
        client.expect(to_bytes(text))


def count_connections(service: Service) -> int:
    return service.connection_count


def read_counters(service: Service) -> list[tuple[int, ...]]:
    """What changes when somebody begins to wait or to stream, or gets something."""
    groups = [group for topic in service.broker.topics.values() for group in topic.groups.values()]
    return [(len(group.waiting), group.consumer_count, group.taken_count) for group in groups]
