"""The command line, up to where it would serve or connect."""

from __future__ import annotations

import io
import os
import re
import tomllib

import pytest
from click.testing import CliRunner

import gstream.client
from gstream import __version__
from gstream.cli import cli
from gstream.config import Config, settings
from gstream.errors import DisconnectedError, RefusedError, ServerUnreachableError


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("GSTREAM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def stdin(tmp_path):
    """``stdin(content)``: what the commands read from descriptor 0."""
    before = os.dup(0)

    def stdin(content):
        path = tmp_path / "stdin"
        path.write_bytes(content)
        descriptor = os.open(path, os.O_RDONLY)
        os.dup2(descriptor, 0)
        os.close(descriptor)

    yield stdin
    os.dup2(before, 0)
    os.close(before)


def run(*arguments):
    """What a command says, on both of its channels, and its exit code; nothing but an exit is raised."""
    result = CliRunner().invoke(cli, arguments, prog_name="gstream")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output
    return result.output, result.exit_code


# --- help


@pytest.mark.parametrize("arguments", [[], *([name] for name in cli.commands)], ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command_has_examples(arguments, flag):
    output, code = run(*arguments, flag)
    assert code == 0
    examples = output.partition("Examples:\n")[2]
    assert re.search(r"^  .*gstream", examples, re.MULTILINE)
    assert max(map(len, output.splitlines())) <= 100


def test_the_commands():
    assert sorted(cli.commands) == ["consume", "publish", "serve"]
    for name in cli.commands:
        assert re.search(rf"^  {name} +\w+", run("--help")[0], re.MULTILINE)


def test_every_setting_is_an_option_of_serve_with_its_default():
    output = " ".join(run("serve", "--help")[0].split())
    for each, setting in settings():
        assert f"--{setting.option} " in output
        assert setting.help in output
        if each.default not in (None, False, True):
            assert f"{setting.help} [default: {setting.show(each.default)}]" in output


def test_the_version():
    assert run("--version") == (f"gstream {__version__}\n", 0)


@pytest.mark.parametrize(
    "arguments",
    [["unknown"], ["serve", "--unknown"], ["serve", "extra"], ["consume", "-n", "0"], ["consume", "-n", "x"]]
    + [["consume", "--wait", value] for value in ("-1", "x", "nan", "1e9")]
    + [["publish", "--max-memory", "1"], ["serve", "--port"]],
    ids=" ".join,
)
def test_a_command_line_that_is_none(client, arguments):
    output, code = run(*arguments)
    assert code == 2
    assert "Error: " in output.splitlines()[-1]


# --- serve --check


def test_check_prints_the_settings_in_force_and_ends():
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


def test_check_reads_environment_and_file(monkeypatch, tmp_path):
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


def test_the_output_of_check_is_a_configuration_file(tmp_path):
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
def test_a_bad_setting_is_told_in_one_line(arguments, text, check):
    assert run("serve", *arguments, *check) == (f"gstream: {text}\n", 2)


def test_a_bad_variable_and_a_bad_file_are_told_in_one_line(monkeypatch, tmp_path):
    path = tmp_path / "gstream.toml"
    path.write_text("prot = 1\n")
    assert run("serve", "--config", str(path)) == (f"gstream: {path}: unknown key 'prot'; did you mean port?\n", 2)
    monkeypatch.setenv("GSTREAM_BANNER", "maybe")
    assert run("serve") == ("gstream: GSTREAM_BANNER: expected true or false, got 'maybe'\n", 2)


def test_insecure_allows_other_addresses():
    assert run("serve", "--check", "--host", "0.0.0.0", "--insecure")[1] == 0


# --- publish and consume


class FakeClient:
    """What the commands use of a Client."""

    def __init__(self, host, port, *, socket_path):
        self.address = socket_path or (host, port)
        self.published = []
        self.calls = []
        self.queue = []
        self.error = None
        self.closed = False

    def __call__(self, host, port, *, socket_path):
        self.address = socket_path or (host, port)
        if isinstance(self.error, ServerUnreachableError):
            raise self.error
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def publish(self, bodies):
        if self.error is not None and self.published:
            raise self.error
        self.published.append(list(bodies))
        return len(bodies)

    def consume(self, count, *, wait_seconds):
        self.calls.append((count, wait_seconds))
        if self.error is not None:
            raise self.error
        taken, self.queue = self.queue[:count], self.queue[count:]
        return taken


@pytest.fixture
def client(monkeypatch):
    fake = FakeClient("", 0, socket_path=None)
    monkeypatch.setattr(gstream.client, "Client", fake)
    return fake


def test_publish_sends_each_line_of_standard_input(client, stdin):
    stdin(b"one\ntwo\r\n\nthree")
    assert run("publish") == ("", 0)
    assert [body for bodies in client.published for body in bodies] == [b"one", b"two", b"", b"three"]
    assert client.address == (Config.host, Config.port)
    assert client.closed


def test_publish_sends_the_lines_of_files_in_order(client, stdin, tmp_path):
    stdin(b"in\n")
    (tmp_path / "a").write_bytes(b"a1\na2\n")
    (tmp_path / "b").write_bytes(b"b1")
    assert run("publish", str(tmp_path / "a"), "-", str(tmp_path / "b")) == ("", 0)
    assert [body for bodies in client.published for body in bodies] == [b"a1", b"a2", b"in", b"b1"]


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (["--host", "::1", "--port", "9000"], ("::1", 9000)),
        (["--socket", "/run/gstream.sock"], "/run/gstream.sock"),
    ],
)
@pytest.mark.parametrize("command", ["publish", "consume"])
def test_where_they_connect(client, stdin, command, arguments, address):
    stdin(b"")
    run(command, *arguments)
    assert client.address == address


@pytest.mark.parametrize("command", ["publish", "consume"])
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
)
def test_a_weaker_socket_does_not_hide_the_port(
    client, stdin, tmp_path, monkeypatch, command, arguments, environment, address
):
    stdin(b"")
    path = tmp_path / "gstream.toml"
    path.write_text('socket = "/file.sock"\n')
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    run(command, "--config", str(path), *arguments)
    assert client.address == address


@pytest.mark.parametrize("command", ["publish", "consume"])
def test_nobody_there_is_told_in_one_line(client, command):
    client.error = ServerUnreachableError("no gstream server at 127.0.0.1:8080: Connection refused")
    assert run(command) == ("gstream: no gstream server at 127.0.0.1:8080: Connection refused\n", 2)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RefusedError("full", "no room"), "full: no room (2 messages were published, some perhaps behind it)"),
        (DisconnectedError("it closed"), "it closed (at least 2 messages were published before)"),
        (ValueError("cannot end in CR"), "cannot end in CR (at least 2 messages were published before)"),
    ],
)
def test_publish_tells_how_many_are_stored_when_it_fails(client, tmp_path, error, text):
    for name in "ab":
        (tmp_path / name).write_bytes(b"one\ntwo\n")
    client.error = error
    assert run("publish", str(tmp_path / "a"), str(tmp_path / "b")) == (f"gstream: {text}\n", 2)


def test_a_refusal_counts_what_was_confirmed_of_its_own_call(client, tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"one\ntwo\n")
    client.error = RefusedError("full", "no room")
    client.error.confirmed = 1
    output, _ = run("publish", str(tmp_path / "a"), str(tmp_path / "b"))
    assert output == "gstream: full: no room (3 messages were published, some perhaps behind it)\n"


@pytest.mark.parametrize(
    ("name", "reason"), [("none", "No such file or directory"), (".", "Is a directory")], ids=["missing", "directory"]
)
def test_a_file_that_cannot_be_read(client, tmp_path, name, reason):
    path = str(tmp_path / name)
    before = "(0 messages were published before)"
    assert run("publish", path) == (f"gstream: cannot read {path}: {reason} {before}\n", 2)


def test_consume_prints_one_a_line(client):
    client.queue = [b"one", b"", b"three"]
    assert run("consume", "-n", "5") == ("one\n\nthree\n", 0)
    assert client.calls == [(5, 0.0), (2, 0.0)]
    assert client.closed


def test_consume_takes_one_unless_told(client):
    client.queue = [b"one", b"two"]
    assert run("consume") == ("one\n", 0)
    assert client.queue == [b"two"]


def test_consume_takes_many_in_pieces(client):
    client.queue = [b"%d" % number for number in range(300)]
    assert run("consume", "-n", "250") == ("".join(f"{number}\n" for number in range(250)), 0)
    assert [count for count, _ in client.calls] == [100, 100, 50]


def test_consume_with_nothing_there_says_so_by_its_exit_code(client):
    assert run("consume") == ("", 1)


def test_consume_waits_as_long_as_told(client):
    run("consume", "--wait", "5")
    ((_, seconds),) = client.calls
    assert 4 < seconds <= 5


def test_consume_that_fails_is_told_in_one_line(client):
    client.error = DisconnectedError("it closed")
    assert run("consume") == ("gstream: it closed\n", 2)


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device")], ids=str)
def test_messages_that_could_not_be_printed_are_an_error(client, monkeypatch, error):
    class Broken(io.BytesIO):
        def write(self, _):
            raise error

    client.queue = [b"one"]
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(Broken()))
    with pytest.raises(SystemExit) as caught:
        cli.main(["consume"], prog_name="gstream")
    assert caught.value.code == 2
