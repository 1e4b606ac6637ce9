"""Leases, through real sockets: they end, they come back in order, and nobody gets what is another's."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from gstream.service import Service
from gstream.testing import TIMEOUT_SECONDS, ServerThread, Session, wait_until

SHORT = 0.05
"""A lease that ends while a test waits for it."""

WAITERS = 1000


@pytest.fixture
def short() -> Iterator[ServerThread]:
    with ServerThread(lease_seconds=SHORT, max_attempts=0) as server:
        yield server


@contextlib.contextmanager
def clients(server: ServerThread, count: int) -> Iterator[list[Session]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Session(server)) for _ in range(count)]


def publish(client: Session, *bodies: bytes) -> None:
    client.send(b"".join(b"p%b\n" % body for body in bodies))
    client.expect(b"ok\r\n" * len(bodies))


def counter(name: str) -> Callable[[Service], int]:
    """One of the default group's figures."""

    def read(service: Service) -> int:
        value = getattr(service.broker.topic().group(), name)
        return value if isinstance(value, int) else len(value)

    return read


def wait_for(server: ServerThread, name: str, value: int) -> None:
    wait_until(lambda: server.call(counter(name)) == value, f"{name} is {value}")


def held_bytes(server: ServerThread) -> int:
    return server.call(lambda service: service.engine.held_bytes)


def test_a_lease_that_ends_comes_again_with_the_next_attempt(short: ServerThread) -> None:
    with clients(short, 2) as (one, other):
        publish(one, b"a")
        one.send(b"r\n")
        one.expect(b"= 0 1 a\n")
        for attempt in (2, 3, 4):
            other.send(b"r\n")
            other.expect(b"= 0 %d a\n" % attempt)
        other.send(b"e0 60\na0\n")
        other.expect(b"+ 0\n+ 1\n")
        one.send(b"a0\nr0\n")
        one.expect(b"- gone 0\n.\n")
    assert held_bytes(short) == 0


def test_an_extended_lease_lasts(short: ServerThread) -> None:
    with clients(short, 2) as (one, other):
        publish(one, b"a", b"b")
        one.send(b"r0 2\ne0 600\n")
        one.expect(b"= 0 1 a\n= 1 1 b\n.\n+ 0\n")
        other.send(b"r\n")
        other.expect(b"= 1 2 b\n")
        other.send(b"a1\nr0\n")
        other.expect(b"+ 1\n.\n")
        one.send(b"a0\n")
        one.expect(b"+ 1\n")


@pytest.mark.parametrize("end", ["half_close", "close", "reset", "q"])
def test_what_a_connection_had_leased_goes_back_at_once_in_its_place(server: ServerThread, end: str) -> None:
    with clients(server, 2) as (one, other):
        publish(other, b"a", b"b", b"c", b"d")
        one.send(b"r0 3\n")
        one.expect(b"= 0 1 a\n= 1 1 b\n= 2 1 c\n.\n")
        one.send(b"a1\n")  # this says that all before it has been read
        one.expect(b"+ 1\n")
        if end == "q":
            one.send(b"q\n")
            one.expect_closed()
        else:
            getattr(one, end)()
        wait_for(server, "leased_count", 0)
        other.send(b"r0 9\na0 2 3\n")
        lines = [other.read_line() for _ in range(5)]
        attempts = [int(line.split()[2]) for line in lines[:3]]
        assert [line.split()[1] for line in lines[:3]] == [b"0", b"2", b"3"]
        assert attempts == [2, 2, 1]
        assert lines[3:] == [b".\n", b"+ 3\n"]
    assert held_bytes(server) == 0


def test_dead_letters_say_what_happened() -> None:
    with ServerThread(max_attempts=2, partitions=2) as server, Session(server) as client:
        client.send(b"P3 key=k%201\na\nb\ngworkers\n")
        id = client.read_line().split()[1]
        client.expect(b"+ workers\n")
        for attempt in (1, 2):
            client.send(b"r\nn%b\n" % id)
            client.expect(b"$ %b %d 3\na\nb\n+ %b\n" % (id, attempt, id))
        client.send(b"r0\ntdefault.dlq\nb2\nw\n")
        client.expect(b".\n+ default.dlq\n+ \n")
        head = client.read_line().decode().split()
        client.expect(b"a\nb\n")
        fields = dict(field.split("=") for field in head[4:])
        assert re.fullmatch(r"\d{13}", fields.pop("time"))
        assert (head[0], head[2:4]) == ("$", ["1", "3"])
        assert fields == {
            "key": "k%201",
            "h.dead.reason": "it%20was%20given%20back%2C%20after%202%20attempts",
            "h.dead.topic": "default",
            "h.dead.id": id.decode().replace(":", "%3A"),
            "h.dead.group": "workers",
            "h.dead.attempts": "2",
        }


@pytest.mark.parametrize("command", [b"r\n", b"r600\n", b"r600 3\n"])
def test_1000_that_wait_get_one_each_in_the_order_in_which_they_came(command: bytes) -> None:
    with ServerThread() as server, clients(server, WAITERS) as waiting, Session(server) as producer:
        for number, client in enumerate(waiting):
            client.send(command)
            if (
                number % 50 == 49
            ):  # those of fifty begin in any order, but they are read in the order of their connecting
                wait_for(server, "waiting", number + 1)
        publish(producer, *(b"%d" % number for number in range(WAITERS)))
        ids = []
        for client in waiting:
            line = client.read_line()
            ids.append(int(line.split()[1]))
            assert line == b"= %d 1 %d\n" % (ids[-1], ids[-1])
            if b" " in command:
                client.expect(b".\n")
        assert sorted(ids) == list(range(WAITERS)), "each has one"
        for start in range(0, WAITERS, 50):
            assert sorted(ids[start : start + 50]) == list(range(start, start + 50)), "first come, first served"
        for client, id in zip(waiting, ids, strict=True):
            client.send(b"a%d\n" % id)
        for client in waiting:
            client.expect(b"+ 1\n")
        assert held_bytes(server) == 0


def test_a_waiter_that_is_gone_gets_nothing(server: ServerThread) -> None:
    with clients(server, 3) as (gone, stays, producer):
        gone.send(b"r600\n")
        wait_for(server, "waiting", 1)
        stays.send(b"r600\n")
        wait_for(server, "waiting", 2)
        gone.reset()
        wait_for(server, "waiting", 1)
        publish(producer, b"a")
        stays.expect(b"= 0 1 a\n")


@pytest.mark.parametrize(("command", "got"), [(b"r600\n", b"= 0 1 a\n"), (b"r600 5\n", b"= 0 1 a\n.\n")])
def test_a_wait_with_a_limit_goes_on_after_half_a_close(server: ServerThread, command: bytes, got: bytes) -> None:
    with clients(server, 2) as (waiter, producer):
        waiter.send(command)
        waiter.half_close()
        wait_for(server, "waiting", 1)
        publish(producer, b"a")
        assert waiter.read_all() == got
        producer.send(b"w\n")
        producer.expect(b"= 0 2 a\n")  # nobody was there to acknowledge it


def test_a_wait_without_a_limit_ends_with_half_a_close(server: ServerThread) -> None:
    with Session(server) as waiter:
        waiter.send(b"r\n")
        wait_for(server, "waiting", 1)
        waiter.half_close()
        assert waiter.read_all() == b".\n"
    wait_for(server, "waiting", 0)


def test_a_message_given_back_goes_to_who_waits(server: ServerThread) -> None:
    with clients(server, 2) as (one, other):
        publish(one, b"a")
        one.send(b"r\n")
        one.expect(b"= 0 1 a\n")
        other.send(b"r\n")
        wait_for(server, "waiting", 1)
        one.send(b"n0 0.02\nr\n")
        one.expect(b"+ 0\n")
        other.expect(b"= 0 2 a\n")
        other.send(b"n0\n")
        other.expect(b"+ 0\n")
        one.expect(b"= 0 3 a\n")


def test_10000_leases_in_batches_are_all_done(server: ServerThread) -> None:
    with clients(server, 3) as (producer, *consumers):
        publish(producer, *(b"%d" % number for number in range(10_000)))
        done = []
        while len(done) < 10_000:
            for consumer in consumers:
                consumer.send(b"r0 700\n")
                ids = [line.split()[1] for line in iter(consumer.read_line, b".\n")]
                if ids:
                    consumer.send(b"a%b\n" % b" ".join(ids))
                    consumer.expect(b"+ %d\n" % len(ids))
                done += map(int, ids)
        assert sorted(done) == list(range(10_000))
    assert held_bytes(server) == 0


def test_a_message_that_its_consumers_die_of_becomes_a_dead_letter(server: ServerThread) -> None:
    """Each has read it and resets, with something unread; a client that never had it would count as no attempt."""
    with Session(server) as producer:
        producer.send(b"ppoison\nz\n")
        producer.expect(b"ok\r\n+ \n")
    for attempt in range(1, 6):
        with Session(server) as consumer:
            consumer.send(b"r60\nh\n")
            consumer.expect(b"= 0 %d poison\n" % attempt)
            consumer.reset()
    with Session(server) as witness:
        witness.send(b"tdefault.dlq\nw%d\n" % TIMEOUT_SECONDS)
        witness.expect(b"+ default.dlq\n= 0 1 poison\n")


def test_a_wait_goes_on_when_its_group_is_forgotten_before_it_begins(server: ServerThread) -> None:
    with Session(server) as consumer, Session(server) as producer:
        consumer.send(b"gg\n")
        consumer.expect(b"+ g\n")
        for number in range(20):
            consumer.send(b"w%d\n" % TIMEOUT_SECONDS)
            producer.send(b"xg\n")
            assert producer.read_line() in (b"+ g\n", b"- busy the group has consumers\n", b"- name no such group\n")
            producer.send(b"p%d\n" % number)
            producer.expect(b"ok\r\n")
            assert consumer.read_line().startswith(b"= ")


def test_waiters_lease_no_more_than_there_is_memory_for() -> None:
    with ServerThread(max_memory_bytes=1 << 20) as server:
        waiters = [Session(server) for _ in range(20)]
        try:
            for number, waiter in enumerate(waiters):
                waiter.send(b"gg%d\nr\n" % number)
                waiter.expect(b"+ g%d\n" % number)
            with Session(server) as producer:
                producer.send(b"p" + b"x" * 500_000 + b"\nz\n")
                producer.expect(b"ok\r\n+ \n")
                held = server.call(lambda service: service.engine.held_bytes)
                assert 500_000 <= held <= 2_000_000
            for waiter in waiters:
                waiter.close()
        finally:
            for waiter in waiters:
                waiter.close()


def test_untouched_messages_go_back_in_their_place_however_they_are_named(server: ServerThread) -> None:
    with Session(server) as client:
        client.send(b"p0\np1\np2\np3\np4\np5\n")
        client.expect(b"ok\r\n" * 6)
        client.send(b"r0 6\n")
        client.expect(b"".join(b"= %d 1 %d\n" % (n, n) for n in range(6)) + b".\n")
        client.send(b"o4 1 2 1\no5 9\na0 3\n")
        client.expect(b"- gone 1\n- gone 9\n+ 2\n")
        client.send(b"w0 9\n")
        client.expect(b"".join(b"= %d 1 %d\n" % (n, n) for n in (1, 2, 4, 5)) + b".\n")


def test_a_reason_is_bounded(server: ServerThread) -> None:
    with Session(server) as client:
        client.send(b"pa\nr0\nd0 " + b"x" * 257 + b"\nd0 " + b"x" * 256 + b"\n")
        client.expect(b"ok\r\n= 0 1 a\n- args a reason has at most 256 bytes\n+ 0\n")


def test_a_client_that_reads_nothing_gets_only_so_many_replies(server: ServerThread) -> None:
    def rows(client: Session) -> dict[str, str]:
        client.send(b"idefault\n")
        return dict(line.decode().split() for line in iter(client.read_line, b".\n"))

    with Session(server) as producer, socket.socket() as greedy:
        for _ in range(10):
            producer.send(b"p\n" * 10_000)
            producer.expect(b"ok\r\n" * 10_000)
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect((server.host, server.port))
        greedy.setblocking(False)
        asked = 0

        def steady() -> bool:
            """It has asked for more than there will be, and is given nothing more."""
            nonlocal asked
            with contextlib.suppress(BlockingIOError):
                asked += greedy.send(b"w0\n" * 10_000)
                return False
            before = rows(producer)["group.default.taken"]
            producer.send(b"z\n" * 1000)
            producer.expect(b"+ \n" * 1000)
            return rows(producer)["group.default.taken"] == before

        wait_until(steady, "the server gives no more")
        assert 4096 <= int(rows(producer)["group.default.taken"]) < 30_000
    wait_until(lambda: server.call(lambda service: service.connection_count) == 0, "both are gone")
