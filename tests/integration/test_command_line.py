"""The command line in processes of its own: what it prints where, its exit codes, and how long it takes."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import timeit
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from gstream import Client, __version__
from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread, Session, wait_until

GSTREAM = (sys.executable, "-m", "gstream")
Start = Callable[..., Any]  # the program fixture


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def queue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerThread]:
    """A server that the commands find by GSTREAM_PORT; its parameter: settings."""
    with ServerThread(**getattr(request, "param", {})) as server:
        monkeypatch.setenv("GSTREAM_PORT", str(server.port))
        yield server


def run(*arguments: str, input: bytes = b"", redirect: str = "", **options: Any) -> subprocess.CompletedProcess[bytes]:
    """``gstream`` with these arguments, to its end."""
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", *GSTREAM, *arguments]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": TIMEOUT_SECONDS, **options}
    return subprocess.run(command, input=input, check=False, **options)


def output(*arguments: str, **options: Any) -> bytes:
    ended = run(*arguments, **options)
    assert (ended.returncode, ended.stderr) == (0, b"")
    return ended.stdout


def error(ended: subprocess.CompletedProcess[bytes]) -> str:
    """The one line that it says when it fails."""
    text = ended.stderr.decode()
    assert (ended.returncode, ended.stdout or b"", text[:9], text.count("\n")) == (2, b"", "gstream: ", 1), text
    return text[9:-1]


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([*GSTREAM, *arguments], stdin=pipe, stdout=pipe, stderr=pipe) as it, ExitStack() as stack:
        stack.callback(it.kill)
        yield it


def end(process: subprocess.Popen[bytes], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Give it the rest of its input and wait for its end."""
    printed, errors = process.communicate(data, timeout=TIMEOUT_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, printed, errors)


def put(server: ServerThread, *bodies: bytes) -> None:
    with Client(server.host, server.port) as client:
        client.publish(bodies)


def take_all(server: ServerThread) -> list[bytes]:
    with Client(server.host, server.port) as client:
        return client.consume(1_000_000)


def wait_for_waiting(server: ServerThread, count: int = 1) -> None:
    with Client(server.host, server.port) as client:
        wait_until(
            lambda: client.topics() and client.stats("default")["group.default.waiting"] == count, f"{count} wait"
        )


def write(path: str, data: bytes) -> str:
    with open(path, "wb") as file:
        file.write(data)
    return path


SPELLINGS = {
    "nothing": ["sh", "-c", 'GSTREAM_PORT=0 exec "$0" -m gstream', sys.executable],  # drops what ServerProcess adds
    "flags": [*GSTREAM],
    "serve": [*GSTREAM, "serve"],
    "gstream.server": [sys.executable, "-m", "gstream.server"],
    "script": [os.path.join(os.path.dirname(sys.executable), "gstream"), "serve"],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_serves_and_says_where_and_what_it_promises(spelling: str) -> None:
    if spelling == "script" and not os.path.exists(SPELLINGS[spelling][0]):
        pytest.skip("the console script gstream is not installed")
    with ServerProcess(command=SPELLINGS[spelling]) as process, Session(process) as client:
        client.send(b"pHello\nc\n")
        client.expect(b"ok\r\nHello\n")
        assert process.greeting[0] == f"gstream {__version__} listens on 127.0.0.1:{process.port}"
        assert process.greeting[1] == "memory: messages are lost when the server stops"
        wait_until(lambda: process.log.endswith("\n"), "it logs")
        assert re.fullmatch(r"\S+ info listening endpoints=\['127.0.0.1:\d+'\] engine=memory\n", process.log)


def test_json_log_is_all_that_it_prints(tmp_path: object) -> None:
    with running("--port", "0", "--socket", f"{tmp_path}/socket", "--log-json", "--log-level", "debug") as served:
        first = served.stderr.readline()  # type: ignore[union-attr]
        with Session(f"{tmp_path}/socket") as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            client.read_all()
        served.send_signal(signal.SIGTERM)
        ended = end(served)
    assert (ended.returncode, ended.stdout) == (0, b"")
    rows = [json.loads(line) for line in [first, *ended.stderr.splitlines()]]
    assert all({"time", "level", "event"} <= set(row) for row in rows)
    assert [row["connection"] for row in rows if "connection" in row] == [1, 1, 1]


def test_connections_are_logged_by_number_and_messages_are_not() -> None:
    with ServerProcess("--log-level", "debug") as process:
        for _ in range(2):
            with Client(port=process.port) as client:
                client.publish([b"secret"] * 1000)
                assert client.consume(1000) == [b"secret"] * 1000
        assert process.stop() == 0
    events = sorted(re.findall(r" debug (\w+ connection=\d) client=127.0.0.1:\d+\n", process.log))
    assert events == [f"{event} connection={n}" for event in ("connected", "disconnected") for n in (1, 2)]
    assert process.log.count("\n") == len(events) + 3  # listening, stopping, stopped


def test_help_and_version_and_how_soon() -> None:
    for command in ([], ["serve"], ["publish"], ["consume"], ["bench"]):
        assert re.search(rb"^ *Examples:\n", output(*command, "--help"), re.MULTILINE)
    assert output("--version") == b"gstream %b\n" % __version__.encode()
    assert min(timeit.repeat(lambda: output("--help"), number=1, timer=children_cpu_seconds)) < 0.2  # of 5


def children_cpu_seconds() -> float:
    """Of all that have ended: a busy machine lengthens the wait, not the work."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_the_first_answer_is_there_soon() -> None:
    def start() -> None:
        with ServerProcess() as process, Session(process):
            pass

    assert min(timeit.repeat(start, number=1, timer=children_cpu_seconds)) < 0.4  # of 5


VARIABLE = {"GSTREAM_MAX_MESSAGE": "20"}
SOURCES = {"file": ([], {}, 10), "environment": ([], VARIABLE, 20), "flag": (["--max-message", "30"], VARIABLE, 30)}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("how", ["--config", "GSTREAM_CONFIG"])
def test_flag_before_environment_before_file(tmp_path: object, how: str, source: str) -> None:
    path = write(f"{tmp_path}/toml", b"max-message = 10\nbanner = false\n")
    flags, variables, size = SOURCES[source]
    arguments = [*flags, how, path] if how == "--config" else flags
    environment = {"GSTREAM_CONFIG": path if how == "GSTREAM_CONFIG" else "/none", **variables}
    checked = output("serve", "--check", *arguments, env={**os.environ, **environment}).decode()
    assert re.search(rf"^max-message = {size} +# {source}$", checked, re.MULTILINE)
    with ServerProcess(*arguments, environment=environment) as process, Session(process, banner=b"") as client:
        client.send(b"p" + b"x" * size + b"\np" + b"x" * (size + 1) + b"\n")
        client.expect(b"ok\r\n- toobig longer than %d bytes" % size)


def test_what_check_prints_is_a_configuration_file(tmp_path: object) -> None:
    flags = ["--port", "0", "--max-message", "3MiB", "--no-banner", "--grace", "0.5", "--log-json", "--host", "::1"]
    flags += ["--data-dir", f"{tmp_path}/data", "--sync", "never", "--retain-seconds", "0.5"]
    flags += ["--kafka", "--kafka-port", "0", "--kafka-advertise", "[::1]:9092", "--kafka-partitions", "3"]
    first = output("serve", "--check", *flags, "--socket", f'{tmp_path}/"ü')
    second = output("serve", "--check", "--config", write(f"{tmp_path}/toml", first))
    assert tomllib.loads(second.decode()) == tomllib.loads(first.decode())
    assert set(re.findall(rb"# (\w+)$", second, re.MULTILINE)) == {b"file"}


BAD = {
    "a flag": ("--port 70000", "--port: expected a whole number from 0 to 65535, got '70000'"),
    "a variable": ("GSTREAM_MAX_MEMORY=much", "GSTREAM_MAX_MEMORY: expected a size from 1 to "),
    "a name of no host": ("--host nowhere.invalid", "--host: cannot resolve 'nowhere.invalid': "),
    "a name that is none": ("--host a..b", "--host: cannot resolve 'a..b': "),
    "all addresses": ("--host 0.0.0.0", "can be reached from other machines, .* add --insecure$"),
    "all IPv6 addresses": ("--host ::", "can be reached from other machines, .* add --insecure$"),
    "another's address": ("--host 192.0.2.1 --insecure", "cannot listen on 192.0.2.1: "),
    "a port in use": ("--port {port}", "cannot listen on 127.0.0.1:.*: Address already in use; .* --port$"),
    "a file's path": ("--socket {dir}/file", "there is a file that is no socket; remove it, or choose another$"),
    "another server's path": ("--socket {dir}/socket", "a server is running there; stop it, or choose another"),
    "a long path": ("--socket {dir}/" + "x" * 200, "AF_UNIX path too long$"),
    "a missing directory": ("--socket {dir}/none/socket", "No such file or directory$"),
    "a missing file": ("--config {dir}/none", "cannot read .*/none: No such file or directory$"),
    "a name of two lines": ("--config {dir}/two\nlines", "No such file or directory$"),
    "a directory": ("GSTREAM_CONFIG={dir}", "cannot read .*: Is a directory$"),
    "an unreadable file": ("--config {dir}/unreadable", "cannot read .*/unreadable: Permission denied$"),
    "a reserved port": ("--port 1", "cannot listen on 127.0.0.1:1: .* ports below 1024 are reserved"),
    "a value in a file": (b"grace = -1", "grace in .*/toml: expected a number of seconds, as in 10 or 0.5, got -1$"),
    "an unknown key": (b"max-mesage = 1", "/toml: unknown key 'max-mesage'; did you mean max-message[?]$"),
    "a broken file": (b"port = \n", "/toml is no TOML file: "),
    "not UTF-8": (b'host = "\xff"', "/toml is no TOML file: "),
    "nested too deep": (b"port = " + b"[" * 100_000, "/toml"),
    "digits that Python does not read": (b"port = " + b"1" * 5000, "/toml"),
    "digits that Python does not print": (b"grace = 0x" + b"f" * 5000, "the number for grace is too large"),
    "more than a float": (b"grace = 1" + b"0" * 400, "the number for grace is too large"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_setting_is_told_in_one_line(tmp_path: object, case: str) -> None:
    if case == "an unreadable file" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    if case == "a reserved port":
        with socket.socket() as reserved, suppress(PermissionError):
            reserved.bind(("127.0.0.1", 1))
            pytest.skip("this user may listen on port 1")
    os.close(os.open(f"{tmp_path}/unreadable", os.O_CREAT, 0))
    write(f"{tmp_path}/file", b"precious")
    given, text = BAD[case]
    if isinstance(given, bytes):
        write(f"{tmp_path}/toml", given)
        given = "--config {dir}/toml"
    with ServerThread(socket=f"{tmp_path}/socket") as server:
        words = given.format(port=server.port, dir=tmp_path).split(" ")
        variables = dict(word.split("=") for word in words if word.startswith("GSTREAM_"))
        flags = [word for word in words if not word.startswith("GSTREAM_")]
        assert re.search(text, error(run("serve", "--port", "0", *flags, env={**os.environ, **variables})))
        assert {"file", "socket"} <= set(os.listdir(str(tmp_path)))


def test_insecure_allows_other_addresses() -> None:
    with ServerProcess("--host", "0.0.0.0", "--insecure") as process, Session(process):
        assert process.greeting[0].endswith(f" listens on 0.0.0.0:{process.port}")


def test_each_line_is_a_message(queue: ServerThread, tmp_path: object) -> None:
    all_but_lf = bytes(set(range(256)) - {10})
    data = b"one\n\n\r\ntwo\r\n" + all_but_lf + b"\nno ending"
    path = write(f"{tmp_path}/file", data)
    output("publish", "-", write(f"{tmp_path}/empty", b""))
    output("publish", input=data)
    output("publish", path, "-", path, input=data)
    assert take_all(queue) == [b"one", b"", b"", b"two", all_but_lf, b"no ending"] * 4


def test_100_000_lines_come_out_as_they_went_in(queue: ServerThread) -> None:
    lines = b"".join(b"%d\n" % number for number in range(100_000))
    output("publish", input=lines)
    assert output("consume", "-n", "100000") == lines


def test_a_missing_file_ends_it_and_it_tells_how_many_are_published(queue: ServerThread, tmp_path: object) -> None:
    path = write(f"{tmp_path}/file", b"a\nb\n")
    text = error(run("publish", path, f"{tmp_path}/none", path))
    assert take_all(queue) == [b"a", b"b"]
    assert text.startswith(f"cannot read {tmp_path}/none: No such file or directory")
    assert "2 messages were published" in text


@pytest.mark.parametrize("queue", [{"max_message_bytes": 20}, {"max_memory_bytes": 20_000}], indirect=True, ids=str)
def test_a_refusal_tells_how_many_are_published(queue: ServerThread) -> None:
    text = error(run("publish", input=b"short\n" * 2500 + b"longer than twenty bytes\n" + b"short\n" * 2500))
    assert text.startswith(("toobig: ", "full: "))
    count = len(take_all(queue))
    assert f"({count:,} messages were published, some perhaps behind it)" in text
    assert 2000 < count < 5000


def test_a_server_that_vanishes_while_it_publishes() -> None:
    with ServerProcess() as server, running("publish", "--port", str(server.port)) as process:
        os.write(process.stdin.fileno(), b"one\n")  # type: ignore[union-attr]
        with Client(port=server.port) as client:
            assert client.consume(wait_seconds=TIMEOUT_SECONDS) == [b"one"]
            client.ping()  # by then it is confirmed, too
        server.kill()
        assert re.search(r"(closed the connection|is lost).* \(at least 1 message was", error(end(process, b"two\n")))


def test_no_progress_is_shown_of_what_is_done_at_once(queue: ServerThread, program: Start, tmp_path: object) -> None:
    path = write(f"{tmp_path}/file", b"a\nb\nc\n")
    shell = ("sh", "-c", '"$@"; echo ended $?', "sh")
    on_terminal = program(*shell, *GSTREAM, "publish", path, path, on_terminal=True)
    on_terminal.expect(b"ended 0")


def test_unix_socket_and_address(tmp_path: object) -> None:
    with ServerThread(host="127.0.0.2", socket=f"{tmp_path}/socket") as server:
        output("publish", "--socket", f"{tmp_path}/socket", input=b"a\nb\n")
        assert output("consume", "--socket", f"{tmp_path}/socket") == b"a\n"
        assert output("consume", "--host", "127.0.0.2", "--port", str(server.port)) == b"b\n"


def test_consume_prints_what_is_there_or_ends_with_exit_code_1(queue: ServerThread) -> None:
    for arguments in ([], ["-n", "5"], ["--wait", "0.01"]):
        ended = run("consume", *arguments)
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", b"")
    put(queue, b"one", b"a\rb\0c\xff", b"", b"four")
    assert output("consume") == b"one\n"
    assert output("consume", "-n", "2") == b"a\rb\0c\xff\n\n"
    assert output("consume", "-n", "2") == b"four\n"


@pytest.mark.parametrize("shell", ['exec "$@" -n 3', 'while "$@"; do :; done'])
def test_what_comes_later_is_printed_at_once(queue: ServerThread, program: Start, shell: str) -> None:
    consumer = program("sh", "-c", shell, "sh", *GSTREAM, "consume", "--wait", "60")
    for body in (b"one", b"two", b"three"):
        wait_for_waiting(queue)
        put(queue, body)
        consumer.expect(body + b"\n")
    queue.stop()
    assert (consumer.wait(), consumer.read_all()) == (0, b"")


def test_two_consumers_get_each_message_once(queue: ServerThread) -> None:
    wanted = ("consume", "-n", "5000", "--wait", "60")
    with running(*wanted) as one, running(*wanted) as other:
        wait_for_waiting(queue, 2)
        put(queue, *(b"%d" % number for number in range(10_000)))
        got = [list(map(int, end(process).stdout.split())) for process in (one, other)]
    assert got == [sorted(each) for each in got]
    assert sorted(got[0] + got[1]) == list(range(10_000))


def test_a_long_wait_is_not_cut_short(queue: ServerThread) -> None:
    """With the client's timeout it is 2**32 + 204 ms, which are 204 ms to poll()."""
    with running("consume", "--wait", "4294957.5") as process, pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)


def test_ctrl_c_ends_the_waiting_with_exit_code_130(queue: ServerThread, program: Start) -> None:
    on_terminal = program(*GSTREAM, "consume", "--wait", "600", on_terminal=True)
    with running("consume", "--wait", "600") as process:
        wait_for_waiting(queue, 2)
        process.send_signal(signal.SIGINT)
        on_terminal.send(b"\x03")
        ended = end(process)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")
    assert on_terminal.wait() == 130
    on_terminal.expect(b"^C")
    put(queue, b"one")
    assert output("consume", "--wait", "60") == b"one\n"


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-"], ids=["full", "closed"])
def test_consume_that_cannot_print(queue: ServerThread, redirect: str) -> None:
    put(queue, b"one")
    assert error(run("consume", redirect=redirect)).startswith("cannot print: ")


@pytest.mark.parametrize("command", ["--help", "serve --check", "serve --port 0"])
def test_a_full_disk_is_told_without_a_traceback(command: str) -> None:
    ended = run(*command.split(), redirect=">/dev/full")
    assert ended.returncode != 0
    assert b"Traceback" not in ended.stderr


def test_publish_needs_no_standard_error(queue: ServerThread) -> None:
    assert run("publish", input=b"one\n", redirect="2>&-").returncode == 0
    assert take_all(queue) == [b"one"]


@pytest.mark.parametrize("command", ["publish", "consume --wait 60"])
def test_a_missing_server_is_told_within_a_second(command: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = str(bound.getsockname()[1])
        seconds = timeit.repeat(lambda: error(run(*command.split(), "--port", port, input=b"a\n")), number=1, repeat=3)
        assert min(seconds) < 1


@pytest.mark.parametrize(
    ("command", "data", "again"),
    [
        ("publish", b"", False),
        ("consume", b"SSH-2.0-OpenSSH\r\n\xff\0\n", False),
        ("consume", b"x", True),
        ("consume", b"# x\n", True),
    ],
    ids=["silence", "garbage", "a line without an end", "notices without an end"],
)
def test_what_is_no_gstream_server_is_told_in_time(command: str, data: bytes, again: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_SECONDS)
        with running(command, "--port", str(listener.getsockname()[1])) as process:
            started = time.monotonic()
            with listener.accept()[0] as client, suppress(OSError):
                client.sendall(data)
                while time.monotonic() < started + 3:
                    if select.select([client], [], [], 0.01)[0] and not client.recv(1 << 16):
                        break
                    client.sendall(data * again)
            error(end(process))
    assert time.monotonic() - started < 2
