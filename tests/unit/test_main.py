from __future__ import annotations

import sys

import pytest

from gstream import __main__ as main_module


@pytest.mark.parametrize(
    ("arguments", "run"),
    [
        ([], ["serve"]),
        (["--port", "0"], ["serve", "--port", "0"]),
        (["--no-banner"], ["serve", "--no-banner"]),
        (["serve", "--port", "0"], ["serve", "--port", "0"]),
        (["publish", "-"], ["publish", "-"]),
        (["consume", "-n", "3"], ["consume", "-n", "3"]),
        (["--help"], ["--help"]),
        (["-h"], ["-h"]),
        (["--version"], ["--version"]),
        (["unknown"], ["unknown"]),
    ],
)
def test_without_a_command_it_serves(arguments, run, monkeypatch):
    calls = []
    monkeypatch.setattr(main_module, "run", calls.append)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/anything", *arguments])
    main_module.main()
    assert calls == [run]
