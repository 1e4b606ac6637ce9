"""Faults: ordered for an API, met in order, so many times."""

from __future__ import annotations

from gstream.kafka.codes import Code
from gstream.kafka.faults import Fault, Faults


def test_nothing_happens_unless_it_is_ordered() -> None:
    faults = Faults()
    assert not faults
    assert faults.take(0) is None


def test_the_first_ordered_is_the_first_met_and_each_so_many_times() -> None:
    faults = Faults()
    error, late = Fault(Code.NOT_CONTROLLER), Fault(delay_seconds=1)
    faults.order(0, error, 2)
    faults.order(0, late)
    faults.order(1, late)
    assert faults
    assert len(faults) == 4
    assert [faults.take(0) for _ in range(4)] == [error, error, late, None]
    assert len(faults) == 1
    assert faults.take(1) == late
    assert not faults


def test_what_has_not_happened_is_taken_back() -> None:
    faults = Faults()
    faults.order(0, Fault(drops=True), 5)
    faults.clear()
    assert not faults
    assert faults.take(0) is None
