"""What ``gstream top`` makes of two samples."""

from __future__ import annotations

from gstream.cli.samples import MAX_TOPICS, Sample, Usage, take_sample, usages

GROUP = {"backlog": 5, "leased": 2, "consumers": 1, "acknowledged": 30}


def topic(published, **group):
    return {"messages": 7, "published": published, **{f"group.g.{name}": value for name, value in group.items()}}


def test_rates_are_what_was_added_by_second():
    before = Sample({}, {"t": topic(100, acknowledged=10)}, taken=10.0)
    now = Sample({}, {"t": topic(150, **GROUP)}, taken=12.0)
    assert usages(before, now) == [Usage("t", None, 7, 25.0), Usage("t", "g", 0, 10.0, 5, 2, 1)]


def test_what_is_new_counts_from_nothing_and_what_starts_anew_is_not_negative():
    now = Sample({}, {"t": topic(4, **GROUP)}, taken=12.0)
    assert [usage.rate for usage in usages(Sample({}, {}, taken=10.0), now)] == [2.0, 15.0]
    before = Sample({}, {"t": topic(100, acknowledged=1000)}, taken=10.0)
    assert [usage.rate for usage in usages(before, now)] == [0.0, 0.0]


def test_a_topic_that_is_gone_is_left_out():
    before = Sample({}, {"t": topic(100)}, taken=10.0)
    assert usages(before, Sample({}, {"t": {}}, taken=11.0)) == []


def test_a_sample_asks_about_all_topics_or_about_one(client):
    client.figures = {None: {"version": "1"}, "b": {"messages": 1}, "a": {"messages": 2}}
    sample = take_sample(client, None)
    assert (sample.server, list(sample.topics), sample.left_out) == ({"version": "1"}, ["a", "b"], 0)
    assert list(take_sample(client, "b").topics) == ["b"]
    assert take_sample(client, "none").topics == {"none": {}}


def test_of_too_many_topics_those_that_keep_most_are_shown(client):
    client.figures = {f"t{number}": {"messages": number} for number in range(MAX_TOPICS + 3)}
    sample = take_sample(client, None)
    assert sample.left_out == 3
    assert {"t0", "t1", "t2"}.isdisjoint(sample.topics)


def test_once_prints_one_table(run, client):
    client.figures = {
        None: {"version": "1", "memory.used": 2048, "memory.retained": 1024, "uptime": 90061},
        "t": topic(4, **GROUP),
    }
    output, code = run("top", "--once", "--interval", "0")
    assert code == 0
    assert "gstream 1 at 127.0.0.1:8080, up 1 d 1:01:01" in output
    assert "memory 2.0 KiB of 0 B, retained 1.0 KiB, " in output
    rows = [" ".join(line.split()) for line in output.splitlines()]
    assert "TOPIC GROUP MESSAGES IN/s OUT/s BACKLOG LEASED CONSUMERS" in rows
    assert {"t 7 0", "g 0 5 2 1"} <= set(rows)


def test_once_of_a_topic_that_is_none(run, client):
    client.figures = {None: {"version": "1"}}
    assert run("top", "--once", "-t", "nosuch") == ("gstream: no such topic: nosuch\n", 2)


def test_no_terminal_is_told(run, client):
    assert run("top") == ("gstream: standard output is no terminal: --once prints one table\n", 2)
