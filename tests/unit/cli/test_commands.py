"""The command line, up to where it would serve or connect."""

from __future__ import annotations

import re
import tomllib

import pytest

from gstream import __version__
from gstream.cli import cli
from gstream.config import Config, settings
from gstream.errors import ServerUnreachableError

# --- help


SUB_COMMANDS = [[name, each] for name, group in cli.commands.items() for each in getattr(group, "commands", {})]


@pytest.mark.parametrize("arguments", [[], *([name] for name in cli.commands), *SUB_COMMANDS], ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command_has_examples(run, arguments, flag):
    output, code = run(*arguments, flag)
    assert code == 0
    examples = output.partition("Examples:\n")[2]
    assert re.search(r"^  .*gstream", examples, re.MULTILINE)
    assert max(map(len, output.splitlines())) <= 100


def test_the_commands(run):
    expected = "bench completion consume groups log peek ping publish seek serve stats top topics"
    assert sorted(cli.commands) == expected.split()
    for name in cli.commands:
        assert re.search(rf"^  {name} +\w+", run("--help")[0], re.MULTILINE)


def test_every_setting_is_an_option_of_serve_with_its_default(run):
    output = " ".join(run("serve", "--help")[0].split())
    for each, setting in settings():
        assert f"--{setting.option} " in output
        assert setting.help in output
        if each.default not in (None, False, True):
            assert f"{setting.help} [default: {setting.show(each.default)}]" in output


def test_the_version(run):
    assert run("--version") == (f"gstream {__version__}\n", 0)


@pytest.mark.parametrize(
    "arguments",
    [["unknown"], ["serve", "--unknown"], ["serve", "extra"], ["consume", "-n", "0"], ["consume", "-n", "x"]]
    + [["consume", "--wait", value] for value in ("-1", "x", "nan", "1e9")]
    + [["publish", "--max-memory", "1"], ["serve", "--port"], ["publish", "-t", "no spaces"], ["consume", "-g", ""]]
    + [["consume", "--follow", more] for more in ("--wait=1", "--exit-empty")]
    + [["consume", more] for more in ("-j2", "--retry-delay=1")]
    + [["consume", "--exec", "cat", more] for more in ("--json", "--null", "-j0")]
    + [["consume", "--json", "--null"], ["peek", "--json", "--null"], ["peek", "-n", "1001"]]
    + [["publish", "--json", more] for more in ("--null", "--id=1")]
    + [["publish", "--id="], ["publish", "--id=" + "x" * 256], ["publish", "--key=" + "x" * 1025]]
    + [["seek"], ["seek", "tomorrow"], ["seek", "1", "2"], ["ping", "-c", "0"], ["bench", "all"], ["bench", "-s", "7"]]
    + [["topics", "orders"], ["topics", "--json", "create", "a"], ["topics", "create"], ["topics", "create", "a", "b"]]
    + [["topics", "create", "a", f"--partitions={value}"] for value in ("0", "1025", "x", "default")]
    + [["topics", "create", "a", f"--retain-bytes={value}"] for value in ("-1", "1TB", "x", "Default")]
    + [["topics", "set", "a", f"--retain-seconds={value}"] for value in ("-1", "1d", "nan")]
    + [["topics", "set", "a"], ["topics", "set"], ["topics", "delete"], ["topics", "delete", "a", "no spaces", "--yes"]]
    + [["completion", "sh"], ["groups", "--forget", "two\nlines"]],
    ids=" ".join,
)
def test_a_command_line_that_is_none(run, client, arguments):
    output, code = run(*arguments)
    assert code == 2
    assert "Error: " in output.splitlines()[-1]


# --- serve --check


def test_check_prints_the_settings_in_force_and_ends(run):
    output, code = run("serve", "--check", "--port", "9000", "--no-banner", "--max-message", "65536", "--log-json")
    assert code == 0
    content = tomllib.loads(output)
    assert content["port"] == 9000
    assert content["banner"] is False
    assert content["log-json"] is True
    assert content["max-message"] == "64KiB"
    lines = output.splitlines()
    assert len(lines) == len(settings())
    for option in ("port", "banner", "max-message", "log-json"):
        assert [line.endswith("# flag") for line in lines if line.startswith(f"{option} =")] == [True]
    assert sum(line.endswith("# default") for line in lines) == len(settings()) - 4


def test_check_reads_environment_and_file(run, monkeypatch, tmp_path):
    path = tmp_path / "gstream.toml"
    path.write_text('port = 1\ngrace = 2\nhost = "::1"\n')
    monkeypatch.setenv("GSTREAM_PORT", "3")
    monkeypatch.setenv("GSTREAM_CONFIG", str(path))
    lines = run("serve", "--check")[0].splitlines()
    assert [re.sub(" +", " ", line) for line in lines if not line.endswith("default")] == [
        'host = "::1" # file',
        "port = 3 # environment",
        "grace = 2 # file",
    ]
    assert run("serve", "--check", "--config", str(path), "--grace", "4")[0].count("# flag") == 1


def test_the_output_of_check_is_a_configuration_file(run, tmp_path):
    first, _ = run(
        "serve", "--check", "--port", "0", "--max-memory", "3MiB", "--socket", 'a "b" \\c', "--grace", "0.25"
    )
    path = tmp_path / "gstream.toml"
    path.write_text(first)
    second, code = run("serve", "--check", "--config", str(path))
    assert code == 0
    assert tomllib.loads(second) == tomllib.loads(first)


BAD = {
    "a value of a flag": (["--port", "x"], "--port: expected a whole number from 0 to 65535, got 'x'"),
    "a size": (
        ["--max-message", "1MB5"],
        "--max-message: expected a size from 1 to 1GiB, as in 65536, 512KiB, 1MiB or 2GiB, got '1MB5'",
    ),
    "a level": (["--log-level", "loud"], "--log-level: expected one of debug, info, warning, error, got 'loud'"),
    "a file": (["--config", "/none.toml"], "cannot read the configuration file /none.toml: No such file or directory"),
    "an address": (
        ["--host", "0.0.0.0"],
        (
            "--host: 0.0.0.0 can be reached from other machines, and whoever connects may publish and consume "
            "(there are no users and no TLS yet); if the network is trusted, add --insecure"
        ),
    ),
    "an empty text": (["--socket", ""], "--socket: expected some text, got ''"),
}


@pytest.mark.parametrize(("arguments", "text"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("check", [["--check"], []], ids=["checked", "served"])
def test_a_bad_setting_is_told_in_one_line(run, arguments, text, check):
    assert run("serve", *arguments, *check) == (f"gstream: {text}\n", 2)


def test_a_bad_variable_and_a_bad_file_are_told_in_one_line(run, monkeypatch, tmp_path):
    path = tmp_path / "gstream.toml"
    path.write_text("prot = 1\n")
    assert run("serve", "--config", str(path)) == (f"gstream: {path}: unknown key 'prot'; did you mean port?\n", 2)
    monkeypatch.setenv("GSTREAM_BANNER", "maybe")
    assert run("serve") == ("gstream: GSTREAM_BANNER: expected true or false, got 'maybe'\n", 2)


def test_insecure_allows_other_addresses(run):
    assert run("serve", "--check", "--host", "0.0.0.0", "--insecure")[1] == 0


# --- where the others connect

CLIENTS = ["consume", "peek", "seek 1", "stats", "topics", "groups", "ping -c 1", "publish", "top --once --interval 0"]
CLIENTS += ["topics create a", "topics set a --retain-bytes 1", "topics delete a --yes"]


@pytest.fixture(params=CLIENTS)
def words(request, stdin):
    stdin(b"")
    return request.param.split()


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        ([], (Config.host, Config.port)),
        (["--host", "::1", "--port", "9000"], ("::1", 9000)),
        (["--socket", "/run/gstream.sock"], "/run/gstream.sock"),
    ],
    ids=str,
)
def test_where_they_connect(run, client, words, arguments, address):
    run(*words, *arguments)
    assert client.address == address
    assert client.closed


@pytest.mark.parametrize(
    ("arguments", "environment", "address"),
    [
        ([], {}, "/file.sock"),
        ([], {"GSTREAM_PORT": "1"}, ("127.0.0.1", 1)),
        ([], {"GSTREAM_PORT": "1", "GSTREAM_SOCKET": "/other.sock"}, "/other.sock"),
        (["--port", "2"], {"GSTREAM_SOCKET": "/other.sock"}, ("127.0.0.1", 2)),
        (["--host", "::1"], {"GSTREAM_SOCKET": "/other.sock"}, ("::1", 8080)),
        (["--socket", "/flag.sock"], {"GSTREAM_PORT": "1"}, "/flag.sock"),
    ],
    ids=str,
)
def test_a_weaker_socket_does_not_hide_the_port(
    run, client, words, tmp_path, monkeypatch, arguments, environment, address
):
    path = tmp_path / "gstream.toml"
    path.write_text('socket = "/file.sock"\n')
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    run(*words, "--config", str(path), *arguments)
    assert client.address == address


def test_nobody_there_is_told_in_one_line(run, client, words):
    client.error = ServerUnreachableError("no gstream server at 127.0.0.1:8080: Connection refused")
    advice = "(start one with `gstream serve`, or name it with --host and --port)"
    assert run(*words) == (f"gstream: {client.error} {advice}\n", 2)


@pytest.mark.parametrize("command", ["consume", "peek", "publish", "seek 1"])
def test_topic_and_group_by_option_and_by_variable(run, client, stdin, monkeypatch, command):
    stdin(b"")
    run(*command.split())
    assert client.arguments["topic"] == "default"
    monkeypatch.setenv("GSTREAM_TOPIC", "news")
    monkeypatch.setenv("GSTREAM_GROUP", "readers")
    run(*command.split())
    assert client.arguments["topic"] == "news"
    assert client.arguments.get("group", "readers") == "readers"
    run(*command.split(), "-t", "other")
    assert client.arguments["topic"] == "other"
    assert ("group" in client.arguments) == (command != "publish")


def test_what_is_about_all_topics_is_not_turned_upon_one_by_the_variable(run, client, monkeypatch):
    monkeypatch.setenv("GSTREAM_TOPIC", "news")
    client.figures = {None: {"topics": 2}, "news": {"messages": 1}}
    assert run("stats") == ("topics 2\n", 0)
    assert run("stats", "-t", "news") == ("messages 1\n", 0)


def test_the_client_connects_again_for_none_of_them(run, client, words):
    run(*words)
    assert client.arguments.get("reconnect_seconds", 0) == 0


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "queue.example:1", "[::1]:8080"])
def test_a_port_in_the_host_is_told(run, client, words, host):
    assert run(*words, "--host", host) == (f"gstream: --host: {host!r} has a port, which goes into --port\n", 2)
    assert client.address is None
