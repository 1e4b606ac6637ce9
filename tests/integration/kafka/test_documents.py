"""docs/kafka.md, and what README.md shows of Kafka's clients: the sessions, the tables, and the program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gstream.config import Config
from gstream.kafka import (
    committed,
    connection,
    group,
    groups,
    join_group,
    produce_codec,
    session,
    transactions,
    validation,
)
from gstream.kafka.dispatch import UNREAD_BYTES
from gstream.kafka.fetch import MAX_REPLY_BYTES
from gstream.kafka.node import Node
from gstream.kafka.receiving import SMALL_BYTES
from gstream.kafka.server import ROOM_BYTES
from gstream.kafka.table import TABLE
from gstream.kafka.topic_configs import server_value
from gstream.kafka.topic_keys import TOPIC_KEYS, TopicKey
from gstream.protocol.arguments import MAX_PARTITIONS
from gstream.storage import facts, producers
from gstream.testing import TIMEOUT_SECONDS
from tests.integration.sessions import DOCS, README, Play, check, read_plays

DOCUMENT = DOCS / "kafka.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
PLAYS = [*read_plays(README, "--kafka"), *read_plays(DOCUMENT)]
OPTIONS = dict.fromkeys(re.findall(r"`(--(?:no-)?[a-z-]+)", TEXT))
LINK = re.compile(r"\]\((?P<path>[^)#:]*)(?:#(?P<heading>[^)]+))?\)")
FIRST_ROW = 2
"""Behind the heading, and the line below it."""


def tables(first: str) -> list[list[list[str]]]:
    """All tables whose heading begins so: the cells of their rows."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE):
        rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in block.splitlines()]
        if rows[0][0] == first:
            found.append(rows[FIRST_ROW:])
    return found


def test_the_documents_have_sessions() -> None:
    names = [play.name for play in PLAYS]
    assert sum(name.startswith("kafka") for name in names) == TEXT.count("```console\n")
    assert sum(name.startswith("README") for name in names) == 1


@pytest.mark.parametrize("play", PLAYS, ids=[play.name for play in PLAYS])
def test_session(play: Play, tmp_path: Path) -> None:
    for program in ("kcat", "nc"):
        if shutil.which(program) is None and any(f"{program} " in step.command for step in play.steps):
            pytest.skip(f"{program} is not installed")
    check(play, tmp_path)


def test_the_apis_are_those_that_are_served() -> None:
    (rows,) = [rows for rows in tables("key") if rows[0][1] == "Produce"]
    told = [(int(key), name, versions) for key, name, versions, _ in rows]
    served = []
    for key, api in sorted(TABLE.items()):
        first, last = api.versions[0], api.versions[-1]
        served.append((key, api.name, str(first) if first == last else f"{first} to {last}"))
    assert told == served


def test_the_settings_of_topics_are_those_there_are() -> None:
    working, shown, fixed = [rows for rows in tables("key") if rows[0][1] != "Produce"]
    rows = [*working, *shown, *fixed]
    assert sorted(row[0].strip("`") for row in rows) == sorted(TOPIC_KEYS)
    for row in rows:
        key = TOPIC_KEYS[row[0].strip("`")]
        assert row[1].strip("`").replace("2^63 - 1", str(2**63 - 1)) == default_of(key), key.name
    for kind, prefix in ((shown, "Kept and shown;"), (fixed, "Only its default:")):
        named = {row[0].strip("`") for row in kind}
        assert named == {key.name for key in TOPIC_KEYS.values() if key.documentation.startswith(prefix)}


def default_of(key: TopicKey) -> str:
    """As the document has it: an option, or the text."""
    if key.default is not None:
        return key.default
    small = Config(
        max_message_bytes=1, limit_bytes=2, limit_seconds=3.0, segment_bytes=4, segment_seconds=5.0
    )  # each option tells which it is
    return {
        "13": "--max-message",
        "2": "--retain-bytes",
        "3000": "--retain-seconds",
        "4": "--segment-bytes",
        "5000": "--segment-seconds",
    }[server_value(small, key.name)]


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (TABLE[0].max_bytes, "100 MiB to Produce"),
        (max(api.max_bytes for key, api in TABLE.items() if key), "1 MiB to most other APIs"),
        (min(api.max_bytes for api in TABLE.values()), "256 KiB to those"),
        (SMALL_BYTES, "not small (4 KiB)"),
        (ROOM_BYTES, "256 MiB; who finds no room waits"),
        (UNREAD_BYTES, "256 MiB; beyond that"),
        (MAX_REPLY_BYTES, "8 MiB, or one batch"),
        (connection.QUEUE_BYTES, "beyond 1 MiB of them"),
        (groups.MAX_BYTES, "10,000; 256 MiB"),
        (facts.MAX_BYTES, "256 MiB; beyond that no new ones"),
    ],
)
def test_limits_in_bytes_are_those_of_the_server(limit: int, told: str) -> None:
    numbers = re.findall(r"([0-9]+) ([MK])iB", told)
    number, unit = numbers[0]
    assert told in TEXT
    assert limit == int(number) << {"M": 20, "K": 10}[unit]


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (connection.UNREAD_SECONDS, "closed after 60 seconds"),
        (session.HALF_SENT_SECONDS, "after 30 seconds, and one more for each 64 KiB"),
        (MAX_PARTITIONS, "| 1,024 |"),
        (group.MAX_MEMBERS, "| 10,000;"),
        (groups.MAX_NAME_CHARACTERS, "1,000 characters |"),
        (join_group.MIN_SESSION_MS, "10 ms to 30 minutes"),
        (committed.MAX_METADATA_BYTES, "4,096 bytes"),
        (transactions.MAX_IDS, "100,000, of up to 1,000 characters"),
        (transactions.MAX_TIMEOUT_MS / 60_000, "15 minutes, 1,000 groups"),
        (Node.node_id, "number 1 |"),
        (validation.MAX_RECORDS, "1,000,000 records"),
        (produce_codec.MAX_PARTITIONS, "Produce | 100,000 |"),
        (producers.MOST_PRODUCERS, "more than 10,000 in one partition"),
    ],
)
def test_other_limits_are_those_of_the_server(limit: float, told: str) -> None:
    first = re.search(r"[0-9][0-9,]*", told)
    assert first is not None
    assert told in TEXT
    assert limit == int(first[0].replace(",", ""))


def test_the_program_for_pytest_works(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "test_shop.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


@pytest.mark.parametrize("option", OPTIONS)
def test_options_that_are_named_exist(option: str) -> None:
    others = {"--to-datetime"}  # of Kafka's own tools
    assert option in others or option in (DOCS / "cli.md").read_text(encoding="utf-8")


def test_what_is_linked_is_there() -> None:
    links = list(LINK.finditer(TEXT))
    assert len(links) > 5
    for link in links:
        target = (DOCS / link["path"]).resolve() if link["path"] else DOCUMENT
        assert target.exists(), link[0]
        if link["heading"]:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert link["heading"] in anchors, link[0]
