from __future__ import annotations

import pytest

from gstream import testing


def test_waiting_ends_when_the_condition_holds():
    answers = iter([False, False, True, False])
    testing.wait_until(lambda: next(answers), "the third answer")
    assert next(answers) is False


def test_waiting_in_vain_tells_for_what(monkeypatch):
    monkeypatch.setattr(testing, "TIMEOUT_SECONDS", -1.0)
    with pytest.raises(AssertionError, match="in vain: the sun"):
        testing.wait_until(lambda: False, "the sun")
