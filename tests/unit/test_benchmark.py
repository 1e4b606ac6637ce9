"""The benchmark's arithmetic and words: ratios within a round, bars, how a number reads; and what it asks a server."""

from __future__ import annotations

import importlib
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


def test_each_bar_belongs_to_a_scenario(module):
    promised = {promise.scenario for promise in module("bars").list_promises(1, 1)}
    assert promised <= {scenario.name for scenario in module("scenarios").list_scenarios()}


def test_each_table_has_its_words(results, module):
    for server in ("gstream", "redis", "floor"):
        for promise in module("bars").list_promises(1, 1):
            results.add(1, promise.scenario, server, {promise.figure: promise.limit, "publish_p50_us": 1})
        results.add(1, "counted", server, {"publish_rate": 1})
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
