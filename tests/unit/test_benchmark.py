"""The benchmark's arithmetic and words: ratios within a round, bars, how a number reads; and what it asks a server."""

from __future__ import annotations

import importlib
import os
import socket
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Its modules by name, as they import each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def results(module):
    """Of a run that has measured nothing yet."""
    sizes = {**asdict(module("bench").FULL), "message_bytes": 17}
    return module("results").Results({}, 3, False, sizes)


def test_a_ratio_is_one_of_figures_of_the_same_round(results):
    for round, (ours, theirs) in enumerate([(100, 50), (10, 20), (30, 10)], 1):
        results.add(round, "lease-1", "gstream", {"worker_rate": ours})
        results.add(round, "lease-1", "redis", {"worker_rate": theirs})
    ratio = results.ratio("lease-1", "worker_rate", "gstream", "redis")
    assert (ratio.median, ratio.least, ratio.most) == (2, 0.5, 3)


def test_a_round_that_has_no_peer_has_no_ratio(results):
    results.add(1, "lease-1", "gstream", {"worker_rate": 100})
    results.add(2, "lease-1", "redis", {"worker_rate": 50})
    assert results.ratio("lease-1", "worker_rate", "gstream", "redis") is None


def test_results_survive_their_file(results, module, tmp_path):
    results.add(1, "wake", "gstream", {"ratio": 1.25})
    results.fail(1, "stream", "gstream", "no /some/where/load")
    results.write(tmp_path / "results.json")
    assert module("results").Results.read(tmp_path / "results.json") == results
    assert results.failures[0].reason == "no load"


@pytest.mark.parametrize(
    ("rates", "reached"),
    [((2_400_000, 2_500_000, 9_000_000), True), ((1, 2_499_999, 9_000_000), False)],
)
def test_a_bar_is_judged_by_the_median(results, module, rates, reached):
    for round, rate in enumerate(rates, 1):
        results.add(round, "take-1000", "gstream", {"take_rate": rate})
    (verdict,) = module("bars").judge(results)
    assert verdict.promise.bar() == "≥ 2,500,000 messages/s"
    assert verdict.reached is reached


def test_a_bar_is_not_reached_where_a_round_failed(results, module):
    results.add(1, "wake", "gstream", {"ratio": 1})
    results.fail(2, "wake", "gstream", "no answer")
    (verdict,) = module("bars").judge(results)
    assert verdict.measured.median == 1
    assert not verdict.reached


def test_a_bar_has_its_unit(results, module):
    results.add(1, "return-expired", "gstream", {"back_us": 4_900_000, "beside_p99_us": 51_000})
    back, beside = module("bars").judge(results)
    assert (back.promise.bar(), back.measured.median, back.reached) == ("< 5 s", pytest.approx(4.9), True)
    assert (beside.promise.bar(), beside.measured.median, beside.reached) == ("< 50 ms", 51, False)


def test_a_bar_is_left_out_where_its_peer_took_no_part(results, module):
    results.add(1, "lease-1", "gstream", {"worker_rate": 100})
    assert module("bars").judge(results) == []
    results.add(1, "lease-1", "redis", {"worker_rate": 100})
    (verdict,) = module("bars").judge(results)
    assert verdict.reached


def test_a_peer_is_missed_where_something_is_held_to_it(results, module):
    results.add(1, "disk-single-64", "gstream", {"publish_rate": 100})
    assert module("bars").absent_peers(results) == ["redis"]
    results.add(1, "disk-pipelined-always", "gstream", {"publish_rate": 100})
    assert module("bars").absent_peers(results) == ["redis", "beanstalkd"]
    results.add(1, "disk-single-64", "redis", {"publish_rate": 100})
    assert module("bars").absent_peers(results) == ["beanstalkd"]


COLD = {"cached_rate": 1_600_000, "cached_share": 0.2, "dropped_rate": 900_000, "dropped_share": 0.6}


@pytest.mark.parametrize(
    ("figures", "reached"),
    [
        ({}, [True, True]),
        ({"cached_rate": 1_400_000}, [False, True]),
        ({"dropped_share": 0.4}, [True, False]),
    ],
)
def test_a_bar_may_be_reached_in_another_way(results, module, figures, reached):
    results.add(1, "disk-cold", "gstream", COLD | figures)
    verdicts = module("bars").judge(results)
    assert [verdict.reached for verdict in verdicts] == reached
    assert {verdict.promise.bar() for verdict in verdicts} == {"≥ 1,500,000 messages/s, or ≥ 50 % of `cat`"}


def test_a_bar_that_failed_is_not_reached_in_another_way(results, module):
    results.add(1, "disk-cold", "gstream", COLD)
    results.fail(2, "disk-cold", "gstream", "no answer")
    assert [verdict.reached for verdict in module("bars").judge(results)] == [False, False]


def test_a_bar_that_has_two_ways_shows_both(results, module):
    results.add(1, "disk-cold", "gstream", COLD)
    results.add(2, "disk-cold", "gstream", COLD | {"cached_rate": 1_700_000})
    (table,) = (each for each in module("tables").list_tables(results) if each.name == "bars")
    cached, dropped = (row[2] for row in table.rows)
    assert cached.text == "1,650,000 messages/s; 20.0 % of `cat`"
    assert cached.spread == "1,600,000 .. 1,700,000"
    assert dropped.text == "900,000 messages/s; 60.0 % of `cat`"


def test_on_disk_it_is_compared_with_what_syncs_the_same(results, module):
    for scenario, ours in (("pipelined-second", 3.9), ("pipelined-always", 4), ("single-64", 1)):
        results.add(1, f"disk-{scenario}", "gstream", {"publish_rate": ours * 1000})
        results.add(1, f"disk-{scenario}", "redis", {"publish_rate": 1000})
    assert [verdict.reached for verdict in module("bars").judge(results)] == [False, True, True]
    results.add(1, "disk-pipelined-always", "beanstalkd", {"publish_rate": 401})
    peers = {verdict.promise.peer: verdict.reached for verdict in module("bars").judge(results)}
    assert peers == {"redis": True, "beanstalkd": False}


def test_each_bar_belongs_to_a_scenario(module):
    promised = {promise.scenario for promise in module("bars").list_promises(1, 1)}
    assert promised <= {scenario.name for scenario in module("scenarios").list_scenarios()}


def test_each_table_has_its_words(results, module):
    for server in ("gstream", "redis", "floor"):
        for promise in module("bars").list_promises(1, 1):
            results.add(1, promise.scenario, server, {promise.figure: promise.limit, "publish_p50_us": 1})
        results.add(1, "counted", server, {"publish_rate": 1})
        results.add(1, "disk-restart", server, {"restart_ms": 1})
    names = [table.name for table in module("tables").list_tables(results)]
    assert sorted(names) == sorted(module("words").NOTES)
    for name in names:
        assert "{" not in module("words").NOTES[name].format(probes=20, **results.sizes)


@pytest.mark.parametrize(
    ("scenario", "able"),
    [
        ("take-1000", {"gstream"}),
        ("lease-100", {"gstream", "beanstalkd"}),
        ("lease-1", {"gstream", "redis", "beanstalkd"}),
        ("pipelined-1000", {"gstream", "redis", "beanstalkd", "floor"}),
        ("disk-single-64", {"gstream", "redis", "beanstalkd"}),
        ("disk-restart", {"gstream", "redis"}),
        ("disk-cold", {"gstream"}),
    ],
)
def test_a_scenario_is_run_by_those_who_can(module, scenario, able):
    server = module("servers").Server
    servers = [server(name, name, (), stores=name != "floor") for name in ("gstream", "redis", "beanstalkd", "floor")]
    (chosen,) = [each for each in module("scenarios").list_scenarios() if each.name == scenario]
    assert {each.name for each in servers if chosen.fits(each)} == able


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.5432, "0.543"), (1.2345, "1.23"), (99.96, "100"), (2_512_345, "2,510,000")]
)
def test_three_digits_count(module, value, text):
    assert module("tables").number(value) == text


@pytest.mark.parametrize(("value", "text"), [(81.92, "81.9 µs"), (48_500, "48.5 ms"), (4_420_000, "4.42 s")])
def test_a_duration_has_the_unit_that_reads_best(module, value, text):
    assert module("tables").duration(value) == text


@pytest.fixture
def peers(module, monkeypatch):
    """All servers, as though they were installed."""
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    return module("servers").find_servers("gstream serve", Path("/bin/floor"))


@pytest.mark.parametrize(
    ("name", "sync", "options"),
    [
        ("gstream", "ALWAYS", "--data-dir /a b --sync always"),
        ("gstream", "SECOND", "--data-dir /a b --sync 1"),
        ("gstream", "NEVER", "--data-dir /a b --sync never"),
        ("redis", "SECOND", "--dir /a b --appendonly yes --auto-aof-rewrite-percentage 0 --appendfsync everysec"),
        ("beanstalkd", "ALWAYS", "-b /a b -f0"),
        ("beanstalkd", "SECOND", "-b /a b -f1000"),
    ],
)
def test_each_server_is_told_where_its_files_are_and_when_to_sync(module, peers, name, sync, options):
    words = peers[name].on_disk(Path("/a b"), module("servers").Sync[sync])
    assert " ".join(words) == options
    assert "/a b" in words


def test_what_a_directory_takes_is_all_that_its_files_take(module, tmp_path):
    (tmp_path / "topics").mkdir()
    for name in ("meta.db", "topics/log"):
        (tmp_path / name).write_bytes(b"x" * 100_000)
    space = module("disk").space_of(tmp_path)
    assert space == sum((tmp_path / name).stat().st_blocks for name in ("meta.db", "topics/log")) * 512


def test_files_that_are_dropped_from_memory_are_as_they_were(module, tmp_path):
    paths = [tmp_path / "1", tmp_path / "2"]
    for path in paths:
        path.write_bytes(b"x" * 100_000)
    module("disk").drop_from_memory(paths)
    assert [path.read_bytes() for path in paths] == [b"x" * 100_000] * 2


@pytest.fixture
def mounts(tmp_path):
    """A table of mounts, of which the last one is where this test's files lie."""
    device = tmp_path.stat().st_dev
    where = f"{os.major(device)}:{os.minor(device)}"

    def write(kind):
        other = "21 1 0:99999 / /proc rw,nosuid shared:5 - proc proc rw"
        ours = f"36 35 {where} / /a\\040b rw,noatime master:1 - {kind} /dev/disk rw"
        (tmp_path / "mountinfo").write_text(f"{other}\n{ours}\n" if kind else f"{other}\n")
        return tmp_path / "mountinfo"

    return write


@pytest.mark.parametrize(("kind", "found"), [("ext4", "ext4"), ("tmpfs", "tmpfs"), ("", "unknown")])
def test_the_file_system_is_the_one_that_the_directory_is_on(module, tmp_path, mounts, kind, found):
    assert module("machine").file_system_of(tmp_path, mounts(kind)) == found


def test_the_file_system_is_unknown_where_there_is_no_table(module, tmp_path):
    assert module("machine").file_system_of(tmp_path, tmp_path / "mountinfo") == "unknown"


class Scripted:
    """A server of one client that answers each line it reads with the next of its answers, and then closes."""

    def __init__(self):
        self.asked = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = None

    def answer(self, *answers):
        self._thread = threading.Thread(target=self._serve, args=(answers,))
        self._thread.start()

    def _serve(self, answers):
        client, _ = self._listener.accept()
        with client, client.makefile("rb") as lines:
            client.sendall(b"1\r\n2\r\n3\r\n")
            for answer in answers:
                self.asked.append(lines.readline())
                client.sendall(answer)

    def close(self):
        self._thread.join()
        self._listener.close()


@pytest.fixture
def scripted():
    server = Scripted()
    yield server
    server.close()


def test_what_is_awaited_is_asked_for_until_it_is_so(module, scripted):
    scripted.answer(
        b"- name no such topic\n",
        b"messages 5\ngroup.default.leased 5\n.\n",
        b"messages 5\ngroup.default.leased 0\n.\n",
    )
    with module("control").Control(scripted.port) as control:
        control.wait_for("default", lambda info: info.get("group.default.leased") == 0, seconds=30)
    assert scripted.asked == [b"idefault\n"] * 3


def test_what_does_not_come_is_a_failed_measurement(module, scripted):
    scripted.answer(b"messages 5\n.\n")
    with (
        module("control").Control(scripted.port) as control,
        pytest.raises(module("programs").BenchmarkError, match=r"still says \{'messages': 5"),
    ):
        control.wait_for("default", lambda info: info["messages"] == 0, seconds=-1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"- internal a bug\n", "a bug"),
        (b"messages many\n.\n", "messages many"),
        (b"messages 5", "closed"),
    ],
)
def test_an_answer_that_is_none_is_a_failed_measurement(module, scripted, answer, reason):
    scripted.answer(answer)
    with (
        module("control").Control(scripted.port) as control,
        pytest.raises(module("programs").BenchmarkError, match=reason),
    ):
        control.info("default")


def test_a_group_is_made_before_it_is_measured(module, scripted):
    scripted.answer(b"+ one\n", b"- full no more groups\n")
    with module("control").Control(scripted.port) as control:
        control.choose_group("one")
        with pytest.raises(module("programs").BenchmarkError, match="no more groups"):
            control.choose_group("two")
    assert scripted.asked == [b"gone\n", b"gtwo\n"]
