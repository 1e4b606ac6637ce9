"""The fixtures for everybody's tests, in projects of their own: a folder, some test files, pytest in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import TypeAlias

import pytest

from gstream import Client, ConfigError, pytest_plugin
from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread

Done: TypeAlias = "subprocess.CompletedProcess[str]"
Run: TypeAlias = Callable[..., Done]

ALL_PASSED, USAGE_ERROR = 0, 4


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Run]:
    """Writes a project's files, given as name=text; gives what runs its tests, with the arguments for pytest."""

    def write(**files: str) -> Run:
        for name, text in files.items():
            suffix = ".ini" if name == "pytest" else ".py"
            (tmp_path / f"{name}{suffix}").write_text(dedent(text), encoding="utf-8")
        return run

    def run(*arguments: str, **environment: str) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTEST_ADDOPTS": "", "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True,
            text=True,
            timeout=2 * TIMEOUT_SECONDS,
            check=False,
        )

    return write


def passed(done: Done, count: int) -> bool:
    assert done.returncode == ALL_PASSED, done.stdout + done.stderr
    assert f"{count} passed" in done.stdout
    return True


def count_unfinished(server: ServerThread) -> int:
    return server.call(lambda service: service.broker.unfinished_count)


def test_every_test_has_a_topic_named_after_it(project: Callable[..., Run]) -> None:
    run = project(
        test_names="""
            import re
            import pytest

            @pytest.mark.parametrize("name", ["a b/c", "\\xe4\\n", "..", "x" * 300, ""])
            def test_any_name(gstream, name):
                assert re.fullmatch(r"test_any_name-[\\w.-]{1,99}", gstream.topic, re.ASCII)
                assert gstream.group == "default"
                assert gstream.publish([b"one", b"two\\n\\0"]) == 2
                assert gstream.consume(9) == [b"one", b"two\\n\\0"]

            def test_dead_letters_have_a_topic_too(gstream):
                gstream.publish(b"one")
                with gstream.lease() as lease:
                    lease.bury(*lease.messages)
                gstream.use(topic=gstream.topic + ".dlq")
                assert gstream.consume() == [b"one"]
        """
    )
    assert passed(run("-W", "error"), 6)


def test_one_server_serves_the_whole_run(project: Callable[..., Run]) -> None:
    test = """
        from pathlib import Path

        def test_the_port(gstream, gstream_server):
            gstream.publish(b"Hello")
            assert str(gstream_server) == f"127.0.0.1:{gstream_server.port}"
            with Path("ports").open("a") as ports:
                print(gstream_server.port, file=ports)
            assert len(set(Path("ports").read_text().split())) == 1
            assert list(gstream.topics()) == [gstream.topic]
    """
    assert passed(project(test_first=test, test_second=test)("-W", "error"), 2)


def test_more_clients_and_the_tests_threads(project: Callable[..., Run]) -> None:
    run = project(
        test_threads="""
            import threading
            from gstream import Client

            def test_fan_out(gstream, gstream_server):
                gstream.use(group="a")
                got = []

                def consume():
                    with Client(*gstream_server, topic=gstream.topic, group="b") as other:
                        got.extend(other.consume(wait_seconds=30))

                thread = threading.Thread(target=consume)
                thread.start()
                gstream.publish(b"Hello")
                thread.join()
                assert got == [b"Hello"]
                assert gstream.consume() == [b"Hello"]
        """
    )
    assert passed(run("-W", "error"), 1)


def test_a_project_that_uses_no_fixture_pays_nothing(project: Callable[..., Run]) -> None:
    run = project(
        test_nothing="""
            import sys

            def test_what_is_imported(pytestconfig):
                assert pytestconfig.pluginmanager.has_plugin("gstream")
                ours = {name for name in sys.modules if name.partition(".")[0] in {"gstream", "gevent", "greenlet"}}
                assert ours == {"gstream", "gstream.pytest_plugin"}
        """
    )
    assert passed(run(), 1)


def test_the_tests_own_thread_gets_no_hub(project: Callable[..., Run]) -> None:
    run = project(
        test_hub="""
            import resource
            import socket
            import threading

            OPEN_FILES = (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, OPEN_FILES)

            def test_no_hub(gstream):
                from gevent._hub_local import get_hub_if_exists

                assert gstream.consume(wait_seconds=0.01) == []
                assert get_hub_if_exists() is None
                assert "gevent" not in socket.socket.__module__ + threading.Event.__module__
                assert resource.getrlimit(resource.RLIMIT_NOFILE) == OPEN_FILES
        """
    )
    assert passed(run("-W", "error"), 1)


@pytest.mark.parametrize("patch", ["", "subprocess=False", "socket=False, select=False", "thread=False"])
def test_tests_that_are_monkey_patched(project: Callable[..., Run], patch: str) -> None:
    run = project(
        conftest=f"""
            from gevent import monkey
            monkey.patch_all({patch})

            def pytest_unconfigure():
                import gevent
                gevent.spawn(print, "the tests' hub lives").join()
        """,
        test_greenlets="""
            import gevent
            from gevent import monkey
            from gstream import Client

            def test_greenlets(gstream, gstream_server):
                def consume():
                    with Client(*gstream_server, topic=gstream.topic) as other:
                        return other.consume(wait_seconds=30 if monkey.is_module_patched("socket") else 0)

                consumer = gevent.spawn(consume)
                gevent.sleep(0)
                gstream.publish(b"Hello")
                # Where sockets are not patched, it had asked before there was anything.
                assert consumer.get(timeout=30) == [b"Hello"] or gstream.consume() == [b"Hello"]

            def test_what_the_server_logs(gstream, caplog):
                gstream.publish(b"Hello")
                with gstream.lease() as lease:
                    lease.bury(*lease.messages)
                assert [record.message for record in caplog.records] == ["dead letters"]
        """,
    )
    done = run("-s", GEVENT_LOOP="libev-cext")  # with libuv, a second loop in the process is not woken (see the plugin)
    assert passed(done, 2)
    assert "the tests' hub lives" in done.stdout


LEFTOVERS = """
    import pytest
    from gstream import Client

    def test_it_leaves_a_lot(gstream, gstream_server):
        assert gstream.topic + ".dlq" not in gstream.topics()
        gstream.use(group="with.dots")
        gstream.publish([b"%d" % number for number in range(5)])
        gstream.consume()
        lease = gstream.lease(2)
        lease.bury(lease.messages[0])
        gstream.use(group="late")
        gstream.lease()

    def test_it_leaves_a_message_that_no_group_knows(gstream):
        gstream.publish(b"one")

    def test_it_leaves_nothing(gstream):
        pass

    @pytest.mark.xfail(strict=True)
    def test_it_fails(gstream):
        gstream.publish(b"one")
        with gstream.lease():
            raise ZeroDivisionError
"""


def test_a_running_server_is_left_tidy(project: Callable[..., Run], server: ServerThread) -> None:
    run = project(test_leftovers=LEFTOVERS)
    for _ in range(2):
        assert passed(run("-W", "error", "--gstream-server", f"{server.host}:{server.port}"), 3)
        assert count_unfinished(server) == 0
        with Client(server.host, server.port) as client:
            assert client.topics() == {}


def test_a_topic_from_which_others_still_consume_is_left_empty(
    project: Callable[..., Run], server: ServerThread
) -> None:
    run = project(
        test_others="""
            from gstream import Client

            clients = []

            def test_it_forgets_a_client(gstream, gstream_server):
                clients.append(Client(*gstream_server, topic=gstream.topic, group="late"))
                gstream.publish([b"one", b"two", b"three"])
                clients.append(clients[0].subscribe(credit=1))
                assert next(clients[1]).body == b"one"
                gstream.consume()

            def test_the_next_one_sees_it(gstream):
                (others,) = gstream.topics()
                assert gstream.stats(others)["group.late.lag"] == 0
                assert gstream.stats(others)["group.default.lag"] == 0
        """
    )
    assert passed(run("-W", "error", "--gstream-server", f"{server.host}:{server.port}"), 2)


def test_a_running_server_may_stand_in_the_configuration(project: Callable[..., Run], server: ServerThread) -> None:
    run = project(
        pytest=f"[pytest]\ngstream_server = {server.host}:{server.port}\n",
        test_server=f"def test_server(gstream_server): assert gstream_server.port == {server.port}",
    )
    assert passed(run(), 1)
    done = run("--gstream-server=127.0.0.1:1")
    assert f"assert 1 == {server.port}" in done.stdout, "the command line decides"


def test_a_server_that_is_gone_spoils_no_ending(project: Callable[..., Run], process: ServerProcess) -> None:
    run = project(
        test_end=f"""
            import os, signal

            def test_end(gstream):
                gstream.publish(b"one")
                os.kill({process.process.pid}, signal.SIGTERM)
        """
    )
    assert passed(run(f"--gstream-server=127.0.0.1:{process.port}"), 1)
    assert process.wait() == 0


def test_a_server_that_is_not_there_is_told(project: Callable[..., Run], process: ServerProcess) -> None:
    process.stop()
    done = project(test_one="def test_one(gstream): pass")(f"--gstream-server=127.0.0.1:{process.port}")
    assert "1 error" in done.stdout
    assert f"no gstream server at 127.0.0.1:{process.port}" in done.stdout


@pytest.mark.parametrize("text", ["8080", ":8080", "localhost", "localhost:http", "localhost:-1", "localhost:123456"])
def test_what_is_no_server(project: Callable[..., Run], text: str) -> None:
    done = project(test_one="def test_one(): pass")(f"--gstream-server={text}")
    assert done.returncode == USAGE_ERROR
    assert f"--gstream-server: expected HOST:PORT, got {text!r}" in done.stderr


@pytest.mark.parametrize(("text", "host", "port"), [("localhost:1", "localhost", 1), ("[::1]:8080", "::1", 8080)])
def test_what_is_a_server(text: str, host: str, port: int) -> None:
    server = pytest_plugin._parse(text)
    assert (server.host, server.port, str(server)) == (host, port, text)


def test_the_fixtures_are_listed_with_their_texts(project: Callable[..., Run]) -> None:
    done = project()("--fixtures")
    assert "\ngstream_server [session scope] -- " in done.stdout
    assert "    A gstream server on a free port, for the whole run" in done.stdout
    assert "\ngstream -- " in done.stdout
    assert "    A gstream.Client on a topic of its own" in done.stdout
    assert "--gstream-server=HOST:PORT" in project()("--help").stdout


def test_it_can_be_switched_off(project: Callable[..., Run]) -> None:
    done = project(test_one="def test_one(gstream): pass")("-p", "no:gstream")
    assert "fixture 'gstream' not found" in done.stdout


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pytest_plugin.SETTINGS, "host", "0.0.0.0")
    with pytest.raises(ConfigError, match="--insecure"), pytest_plugin._serve(pytest_plugin.SETTINGS):
        pass
