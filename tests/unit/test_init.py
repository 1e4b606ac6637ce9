from __future__ import annotations

import re
import subprocess
import sys

import pytest

import gstream
from gstream import client, config, errors, service


def run(program):
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_loads_nothing_else():
    before_and_after = run(
        "import sys; before = set(sys.modules); import gstream\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('_')))"
    ).split()
    assert [name for name in before_and_after if name.startswith("gstream")] == ["gstream"]
    assert not {name.partition(".")[0] for name in before_and_after} & {
        "gevent",
        "greenlet",
        "click",
        "rich",
        "socket",
        "logging",
    }


def test_errors_and_configuration_do_not_load_gevent():
    assert (
        run("import gstream, sys; gstream.ConfigError, gstream.Config, gstream.Client; print('gevent' in sys.modules)")
        == "False\n"
    )


@pytest.mark.parametrize("name", gstream.__all__)
def test_everything_it_promises_is_there(name):
    assert getattr(gstream, name) is not None


def test_each_is_the_one_of_its_module():
    assert gstream.Client is client.Client
    assert gstream.Config is config.Config
    assert gstream.Service is service.Service
    assert gstream.RefusedError is errors.RefusedError


def test_all_is_sorted_and_listed():
    assert gstream.__all__ == sorted(gstream.__all__)
    assert dir(gstream) == sorted(gstream.__all__)


def test_star_gives_all_of_it():
    names = run("from gstream import *; print(*sorted(name for name in dir() if name[:2] != '__'))").split()
    assert names == sorted(set(gstream.__all__) - {"__version__"})


@pytest.mark.parametrize("name", ["Session", "client_", "errors_", "_private", "GstreamErrors", "import_modules"])
def test_nothing_else_is_there(name):
    with pytest.raises(AttributeError, match=f"module 'gstream' has no attribute '{name}'"):
        getattr(gstream, name)


def test_the_version_is_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", gstream.__version__)
