"""What a consumer is told of what it had leased."""

from __future__ import annotations

import gevent
import pytest

from gstream import protocol
from gstream.errors import ArgumentError, DiskError, DiskFullError
from gstream.scope import Scope
from gstream.settling import settle

EOL = b"\n"
FULL = DiskFullError("/data: No space left on device")


class Worker:
    """A client with leases."""

    def __init__(self, server):
        self.server = server
        self.scope = Scope(server.broker)
        self.written = b""
        self.waited = 0

    def lease(self, *bodies):
        """Publish these, and lease them."""
        topic = self.scope.topic()
        for body in bodies:
            topic.publish_bodies([body])
        group = self.scope.group()
        while batch := group.take(100, 1000):
            group.lease(self.scope.consumer(group), batch)
        return self

    def write(self, data):
        self.written += data

    def wait_for(self, commit):
        self.waited += 1
        commit.wait()

    def settle(self, command):
        """What is said to that."""
        settle(self.scope, command, self)
        written, self.written = self.written, b""
        return written


@pytest.fixture
def worker(server):
    return Worker(server)


@pytest.fixture
def kept_worker(make_server):
    return Worker(make_server(kept=True))


def test_acknowledging(worker):
    worker.lease(b"a", b"b", b"c")
    assert worker.settle(protocol.Acknowledge([0, 2], EOL)) == b"+ 2\n"
    assert worker.settle(protocol.Acknowledge([1, 2, 7], EOL)) == b"- gone 2 7\n"
    assert worker.scope.group().acknowledged_count == 3


def test_who_has_leased_nothing_settles_nothing(worker):
    for command in (
        protocol.Acknowledge([0], EOL),
        protocol.Release([0], EOL),
        protocol.GiveBack(0, 0.0, EOL),
        protocol.Extend(0, None, EOL),
        protocol.DeadLetter(0, b"", EOL),
    ):
        assert worker.settle(command) == b"- gone 0\n"
    assert worker.server.broker.topics.keys() == {"default"}


def test_releasing(worker):
    worker.lease(b"a", b"b")
    assert worker.settle(protocol.Release([0, 1], EOL)) == b"+ 2\n"
    assert worker.settle(protocol.Release([0], EOL)) == b"- gone 0\n"
    assert worker.scope.group().take(9, 100).attempt == 1


def test_giving_back_and_extending(worker):
    worker.lease(b"a", b"b")
    assert worker.settle(protocol.GiveBack(0, 0.0, EOL)) == b"+ 0\n"
    assert worker.settle(protocol.GiveBack(0, 0.0, EOL)) == b"- gone 0\n"
    assert worker.settle(protocol.Extend(1, 100.0, EOL)) == b"+ 1\n"
    assert worker.settle(protocol.Extend(0, 100.0, EOL)) == b"- gone 0\n"


def test_burying_in_memory_waits_for_nothing(worker):
    worker.lease(b"a")
    assert worker.settle(protocol.DeadLetter(0, b"", EOL)) == b"+ 0\n"
    (message,) = worker.server.broker.find("default.dlq").group().take(1, 0).messages()
    assert message.headers[0] == ("dead.reason", b"no reason was given")
    assert worker.settle(protocol.DeadLetter(0, b"again", EOL)) == b"- gone 0\n"
    assert worker.waited == 0


def test_dead_letters_do_not_die(worker):
    worker.scope.choose_topic("t.dlq")
    worker.lease(b"a")
    with pytest.raises(ArgumentError, match=r"^these are dead letters already"):
        worker.settle(protocol.DeadLetter(0, b"", EOL))
    assert worker.settle(protocol.Acknowledge([0], EOL)) == b"+ 1\n"


def test_ids_name_the_partition_where_there_are_several(make_server):
    worker = Worker(make_server(partitions=2)).lease(b"a", b"b")
    second = worker.server.topic.partitions[1].partition << 48
    assert worker.settle(protocol.Extend(second, None, EOL)) == b"+ 1:0\n"
    assert worker.settle(protocol.Acknowledge([0, second + 5], EOL)) == b"- gone 1:5\n"


# --- on disk


def test_leases_are_settled_without_waiting_for_the_disk(kept_worker):
    kept_worker.lease(b"a", b"b", b"c", b"d")
    assert kept_worker.settle(protocol.Acknowledge([0], EOL)) == b"+ 1\n"
    assert kept_worker.settle(protocol.GiveBack(1, 5.0, EOL)) == b"+ 1\n"
    assert kept_worker.settle(protocol.Release([2], EOL)) == b"+ 1\n"
    assert kept_worker.settle(protocol.Extend(3, None, EOL)) == b"+ 3\n"
    assert kept_worker.waited == 0


@pytest.mark.parametrize("error", [None, FULL])
def test_a_message_is_dead_when_its_dead_letter_is_stored(kept_worker, error):
    kept_worker.lease(b"a")
    server = kept_worker.server
    log = server.broker.topic("default.dlq").partitions[0]
    log.waits = True
    greenlet = gevent.spawn(kept_worker.settle, protocol.DeadLetter(0, b"why", EOL))
    gevent.idle()
    assert (greenlet.dead, kept_worker.written, kept_worker.waited) == (False, b"", 1)
    log.write(error)
    greenlet.join()
    if error is None:
        assert greenlet.value == b"+ 0\n"
    else:
        assert (type(greenlet.exception), str(greenlet.exception)) == (DiskError, str(FULL))
    server.time.sleep(1.0)
    assert server.left() == ([] if error is None else [b"a"])


def test_a_message_that_was_not_leased_is_not_waited_for(kept_worker):
    kept_worker.lease(b"a", b"b")
    kept_worker.settle(protocol.DeadLetter(0, b"", EOL))
    assert kept_worker.waited == 1
    assert kept_worker.settle(protocol.DeadLetter(0, b"", EOL)) == b"- gone 0\n"
    assert kept_worker.waited == 1
