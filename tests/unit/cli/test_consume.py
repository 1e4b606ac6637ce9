"""What ``gstream consume`` leases, prints and acknowledges."""

from __future__ import annotations

import io
import json

import pytest

from gstream.cli import cli
from gstream.cli.patience import PatientClient
from gstream.errors import DisconnectedError, RefusedError, ServerUnreachableError


def test_one_a_line(run, client):
    client.put(b"one", b"", b"three")
    assert run("consume", "-n", "5") == ("one\n\nthree\n", 0)
    assert client.waits == [(5, 0.0), (2, 0.0)]
    assert client.acknowledged == ["0", "1", "2"]
    assert client.closed


def test_one_unless_told(run, client):
    client.put(b"one", b"two")
    assert run("consume") == ("one\n", 0)
    assert [message.body for message in client.queue] == [b"two"]


def test_many_in_pieces(run, client):
    client.put(*(b"%d" % number for number in range(300)))
    assert run("consume", "-n", "250") == ("".join(f"{number}\n" for number in range(250)), 0)
    assert [count for count, _ in client.waits] == [100, 100, 50]


def test_nothing_there_is_said_by_the_exit_code(run, client):
    assert run("consume") == ("", 1)
    assert run("consume", "--exit-empty") == ("", 1)


def test_exit_empty_goes_on_until_nothing_is_there(run, client):
    client.put(*(b"%d" % number for number in range(150)))
    assert run("consume", "--exit-empty") == ("".join(f"{number}\n" for number in range(150)), 0)
    assert client.waits == [(100, 0.0)] * 3
    client.put(b"a", b"b", b"c")
    assert run("consume", "--exit-empty", "-n", "2") == ("a\nb\n", 0)


def test_it_waits_as_long_as_told(run, client):
    run("consume", "--wait", "5")
    run("consume", "--wait", "5", "--exit-empty")
    client.error = RefusedError("internal", "enough")
    run("consume", "--follow")
    (_, total), (_, each), (_, forever) = client.waits
    assert 4 < total <= 5
    assert each == 5
    assert forever is None


def test_null_ends_each(run, client):
    client.put(b"a\nb", b"")
    assert run("consume", "--null", "-n", "2") == ("a\nb\0\0", 0)


def test_json_asks_for_the_details(run, client):
    client.put("ü".encode(), b"\xff")
    output, code = run("consume", "--json", "-n", "2", "-t", "news")
    assert code == 0
    assert client.arguments["details"] is True
    assert [json.loads(line) for line in output.splitlines()] == [
        {"id": "0", "attempt": 1, "topic": "news", "body": "ü"},
        {"id": "1", "attempt": 1, "topic": "news", "body_base64": "/w=="},
    ]


def test_a_failure_is_told_in_one_line(run, client):
    client.error = DisconnectedError("it closed")
    assert run("consume") == ("gstream: it closed\n", 2)


def test_an_acknowledgement_that_comes_too_late_is_told_and_ends_nothing(run, client):
    client.put(*(b"%d" % number for number in range(101)))
    client.too_late = RefusedError("gone", "0 1")
    output, code = run("consume", "-n", "101")
    assert code == 0
    assert output.count("\n") == 101 + 2
    assert "gstream: gone: 0 1: printed later than the lease allows, and perhaps delivered again\n" in output


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DisconnectedError("it closed"), "it closed (1 printed message perhaps delivered again)"),
        (RefusedError("internal", "a bug"), "internal: a bug"),
    ],
    ids=str,
)
def test_an_acknowledgement_that_fails(run, client, error, text):
    client.put(b"a")
    client.too_late = error
    assert run("consume") == (f"a\ngstream: {text}\n", 2)


def test_a_command_that_cannot_be_started(run, client, monkeypatch):
    def fail(*_arguments, **_options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    client.put(b"a")
    monkeypatch.setattr("subprocess.Popen", fail)
    assert run("consume", "--exec", "cat") == ("gstream: cannot run the command: Resource temporarily unavailable\n", 2)
    assert client.acknowledged == []


TEXT = "gstream: cannot print: No space left on device (what was not printed stays in the queue)\n"


@pytest.mark.parametrize("printed", [0, 1])
@pytest.mark.parametrize(
    ("error", "codes", "text"),
    [(BrokenPipeError(32, "Broken pipe"), [141, 0], ""), (OSError(28, "No space left on device"), [2, 2], TEXT)],
    ids=str,
)
def test_what_could_not_be_printed_is_released(client, monkeypatch, capsys, error, codes, text, printed):
    class Broken(io.BytesIO):
        def write(self, data):
            if self.tell() >= printed:
                raise error
            return super().write(data)

    client.put(b"one", b"two", b"three")
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(Broken()))
    with pytest.raises(SystemExit) as caught:
        cli.main(["consume", "-n", "5"], prog_name="gstream")
    assert caught.value.code == codes[printed]
    assert (client.acknowledged, client.given_back) == (["0"][:printed], [])
    assert client.released == ["0", "1", "2"][printed:]
    assert capsys.readouterr().err == text


@pytest.mark.parametrize("command", ["", " \t"], ids=repr)
def test_a_command_that_is_empty(run, client, command):
    output, code = run("consume", "--exec", command)
    assert code == 2
    assert output.endswith("Error: --exec is empty (an unset variable?)\n")
    assert client.waits == []


@pytest.mark.parametrize("loss", [DisconnectedError("it closed"), RefusedError("drain", "stopping")], ids=str)
@pytest.mark.parametrize("tells", [True, False])
def test_a_lost_server_is_told_once_and_had_back(client, capsys, loss, tells):
    attempts = iter([None, ServerUnreachableError("not yet"), None])

    def connect():
        error = next(attempts)
        if error is not None:
            raise error
        client.error = None
        return client

    with PatientClient(connect, 30.0, tells=tells) as patient:
        client.put(b"a")
        client.error = loss
        assert [message.body for message in patient.lease(1, wait_seconds=None).messages] == [b"a"]
    assert capsys.readouterr().err == f"gstream: lost the server: {loss}; tries for 30 s to have it back\n" * tells


def test_a_server_that_refuses_is_not_lost(client):
    client.error = RefusedError("full", "no more leases")
    patient = PatientClient(lambda: client, 30.0)
    with pytest.raises(RefusedError, match="full"):
        patient.lease(1, wait_seconds=None)


def test_patience_ends(client):
    patient = PatientClient(lambda: client, 1e-9)
    client.error = DisconnectedError("it closed")
    with pytest.raises(DisconnectedError, match="it closed"):
        patient.lease(1, wait_seconds=None)
