"""The commands that look: topics, groups, stats, peek, seek, ping."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from gstream.cli.groups import groups_of
from gstream.cli.table import table_lines
from gstream.errors import RefusedError

FIGURES = {
    "messages": 3,
    "group.a.backlog": 2,
    "group.a.lag": 3,
    "group.a.leased": 1,
    "group.a.consumers": 1,
    "group.a.waiting": 0,
    "group.a.taken": 5,
    "group.a.acknowledged": 4,
    "group.a.returned": 6,
    "group.a.dead": 7,
    "group.b.lag.lag": 9,
}


def test_a_table_aligns_numbers_to_the_right():
    rows = [("a", 1, "x"), ("long name", 1000, 2)]
    assert table_lines(["NAME", "N", "MIXED"], rows) == [
        "NAME          N  MIXED",
        "a             1  x",
        "long name  1000  2",
    ]


def test_groups_of_a_topic_whose_names_may_hold_dots():
    assert groups_of(FIGURES)["b.lag"] == {"lag": 9}
    assert groups_of(FIGURES)["a"]["acknowledged"] == 4
    assert sorted(groups_of(FIGURES)) == ["a", "b.lag"]


def test_topics(run, client):
    assert run("topics") == ("", 1)
    client.figures = {"b": {"messages": 20}, "a": {"messages": 3}}
    assert run("topics") == ("TOPIC  MESSAGES\na             3\nb            20\n", 0)
    output, _ = run("topics", "--json")
    assert [json.loads(line) for line in output.splitlines()] == [
        {"topic": "a", "messages": 3},
        {"topic": "b", "messages": 20},
    ]


def test_a_topic_is_made(run, client):
    assert run("topics", "create", "orders") == ("", 0)
    assert run("topics", "create", "log", "--partitions", "8", "--retain-bytes=64MiB", "--retain-seconds=.5") == ("", 0)
    assert run("topics", "create", "log", "--retain-bytes=default", "--retain-seconds=0") == ("", 0)
    assert client.made == [
        ("orders", None, {"retain_bytes": None, "retain_seconds": None}),
        ("log", 8, {"retain_bytes": 64 << 20, "retain_seconds": 0.5}),
        ("log", None, {"retain_bytes": "default", "retain_seconds": 0.0}),
    ]


def test_a_topic_is_changed(run, client):
    client.figures = {"log": {}}
    assert run("topics", "set", "log", "--retain-bytes", "1GiB") == ("", 0)
    assert run("topics", "set", "none", "--retain-seconds=default") == ("gstream: no such topic: none\n", 2)
    assert client.changed == [("log", {"retain_bytes": 1 << 30, "retain_seconds": None})]


def test_topics_are_removed_when_all_of_them_are_there(run, client):
    client.figures = {"a": {"messages": 3}, "b": {"messages": 0}}
    assert run("topics", "delete", "a", "none", "b", "--yes") == ("gstream: no such topic: none\n", 2)
    assert client.removed == []
    assert run("topics", "delete", "a", "b", "a", "--yes") == ("", 0)
    assert client.removed == ["a", "b"]
    client.error = RefusedError("busy", "the topic has consumers")
    assert run("topics", "delete", "a", "--yes") == ("gstream: a stays: busy: the topic has consumers\n", 2)


def test_without_a_terminal_nobody_is_asked(run, client):
    client.figures = {"a": {"messages": 3}}
    text = "gstream: there is no terminal to ask on: --yes removes without asking\n"
    assert run("topics", "delete", "a") == (text, 2)
    assert client.removed == []


@pytest.mark.parametrize("arguments", [["--port", "9", "create", "a"], ["--port", "8", "create", "a", "--port", "9"]])
def test_where_the_server_is_may_stand_before_the_sub_command(run, client, arguments):
    assert run("topics", *arguments) == ("", 0)
    assert client.address == ("127.0.0.1", 9)


def test_groups(run, client):
    client.figures = {"empty": {}}
    assert run("groups") == ("", 1)
    client.figures = {"t": FIGURES, "empty": {}}
    assert [" ".join(line.split()) for line in run("groups")[0].splitlines()] == [
        "TOPIC GROUP BACKLOG LAG LEASED CONSUMERS TAKEN ACKNOWLEDGED RETURNED DEAD",
        "t a 2 3 1 1 5 4 6 7",
        "t b.lag 0 9 0 0 0 0 0 0",
    ]
    assert run("groups", "-t", "empty") == ("", 1)
    assert run("groups", "-t", "none") == ("gstream: no such topic: none\n", 2)
    assert run("stats", "-t", "none") == ("gstream: no such topic: none\n", 2)
    first = json.loads(run("groups", "-t", "t", "--json")[0].splitlines()[0])
    assert first == {"topic": "t", "group": "a", **groups_of(FIGURES)["a"]}


def test_a_group_is_forgotten_in_the_topic(run, client):
    assert run("groups", "--forget", "audit") == ("", 0)
    assert run("groups", "--forget", "audit", "-t", "orders") == ("", 0)
    assert client.forgotten == [("default", "audit"), ("orders", "audit")]


def test_stats(run, client):
    client.figures = {None: {"version": "1", "uptime": 0.5}, "t": {"messages": 3}}
    assert run("stats") == ("version 1\nuptime 0.5\n", 0)
    assert run("stats", "-t", "t") == ("messages 3\n", 0)
    assert json.loads(run("stats", "--json")[0]) == {"version": "1", "uptime": 0.5}


def test_peek(run, client):
    assert run("peek") == ("", 1)
    client.put(b"a\n", b"b", b"c")
    assert run("peek", "-n", "2", "--null") == ("a\n\0b\0", 0)
    assert run("peek") == ("a\n\n", 0)
    assert json.loads(run("peek", "--json")[0]) == {"id": "0", "attempt": 1, "topic": "default", "body": "a\n"}
    assert len(client.queue) == 3


TIMES = {
    "@1764020000": datetime.fromtimestamp(1764020000, UTC),
    "@1764020000.5": datetime.fromtimestamp(1764020000.5, UTC),
    "@2026-11-24": datetime(2026, 11, 24, tzinfo=UTC),
    "@2026-11-24T21:30:00Z": datetime(2026, 11, 24, 21, 30, tzinfo=UTC),
    "@2026-11-24T21:30:00+02:00": datetime(2026, 11, 24, 19, 30, tzinfo=UTC),
}


@pytest.mark.parametrize(
    ("where", "place"),
    [("7", "7"), ("1:7", "1:7"), ("-10", -10), ("-0", "$"), ("^", "^"), ("$", "$"), *TIMES.items()],
    ids=str,
)
def test_seek(run, client, where, place):
    assert run("seek", where) == ("7\n", 0)
    assert run("seek", "-t", "x", "--", where) == ("7\n", 0)
    assert client.places == [place, place]


def test_seek_to_some_time_ago(run, client):
    before = datetime.now(UTC)
    run("seek", "@-60.5")
    assert before <= client.places[0] + timedelta(seconds=60.5) <= datetime.now(UTC)


@pytest.mark.parametrize("where", ["@", "@x", "@999999999999", "--10", "1:", "^^", "@2026-13-01", "1\n", "-"])
def test_a_place_that_is_none(run, client, where):
    output, code = run("seek", "--", where)
    assert code == 2
    assert "is no id, -N, ^, $ or @TIME" in " ".join(output.split())
    assert client.places == []


def test_ping(run, client):
    output, code = run("ping", "-c", "3", "--interval", "0")
    assert code == 0
    assert output.splitlines() == [
        *(f"127.0.0.1:8080: seq={number} time=1.000 ms" for number in (1, 2, 3)),
        "",
        "--- 127.0.0.1:8080 ---",
        "3 answers, round trip min/avg/max/mdev = 1.000/1.000/1.000/0.000 ms",
    ]
