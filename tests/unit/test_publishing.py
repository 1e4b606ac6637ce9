"""What a producer is told, and when."""

from __future__ import annotations

import pytest

from gstream import protocol
from gstream.batch import pack
from gstream.commit import Commit
from gstream.errors import DiskFullError, FullError
from gstream.publishing import REFUSED_AT_ONCE, publish, publish_counted

FULL = DiskFullError("/data: No space left on device")
REFUSED = b"- disk /data: No space left on device\n"


class FakeClient:
    """Who is answered. later: the replies that wait for something to be stored, with how large that is."""

    def __init__(self):
        self.written = b""
        self.later = []
        self.longest = 0

    def write(self, data):
        self.written += data
        self.longest = max(self.longest, len(data))

    def write_when(self, commit, data, refuse, size):
        assert isinstance(commit, Commit)
        self.later.append((commit, data, refuse, size))

    def told(self):
        """What it was told of all that is stored, or not, by now."""
        said = b""
        for commit, data, refuse, _ in self.later:
            assert commit.is_done
            said += data if commit.error is None else refuse(commit.error)
        self.later = []
        return said


@pytest.fixture
def client():
    return FakeClient()


@pytest.fixture
def kept(make_server):
    """A server that stores messages when the test says so."""
    server = make_server(kept=True)
    server.topic.partitions[0].waits = True
    return server


def lines(*bodies, eol=b"\n"):
    return protocol.Publish(pack(*bodies), len(bodies), eol)


def counted(*bodies, key=None, delay=0.0, id=None, eol=b"\n"):
    return protocol.PublishCounted(list(bodies), key, delay, id, eol)


# --- in memory


def test_in_memory_the_answer_comes_at_once(server, client):
    publish(server.topic, lines(b"a", b"b"), client)
    publish_counted(server.topic, counted(b"c", b"d"), client)
    assert (client.written, client.later) == (b"ok\r\nok\r\n+ 2\n+ 3\n", [])


def test_what_does_not_fit_is_refused(make_server, client):
    server = make_server(max_memory_bytes=10)
    publish(server.topic, lines(b"abc", b"def", b"g", eol=b"\r\n"), client)
    ok, other, refused = client.written.splitlines(keepends=True)
    assert (ok, other) == (b"ok\r\n", b"ok\r\n")
    assert refused.startswith(b"- full no room within 10 bytes")
    assert refused.endswith(b"\r\n")
    client.written = b""
    publish_counted(server.topic, counted(b"xyz"), client)
    publish(server.topic, lines(b"xyz"), client)
    assert client.written.count(b"\n") == client.written.count(b"- full ") == 2
    with pytest.raises(FullError):
        publish_counted(server.topic, counted(b"xyz", id=b"1"), client)


def test_many_refusals_are_written_in_pieces(make_server, client):
    server = make_server(max_memory_bytes=4)
    count = 2 * REFUSED_AT_ONCE + 500
    publish(server.topic, lines(*[b"x"] * count), client)
    refusal = client.written.splitlines(keepends=True)[-1]
    assert client.written == b"ok\r\n" + refusal * (count - 1)
    assert client.longest == len(refusal) * REFUSED_AT_ONCE


def test_ids_name_the_partition_where_there_are_several(make_server, client):
    topic = make_server(partitions=2).topic
    publish_counted(topic, counted(b"a"), client)
    publish_counted(topic, counted(b"b"), client)
    assert client.written == b"+ 0:0\n+ 1:0\n"


# --- on disk


def test_the_answer_comes_when_it_is_stored(kept, client):
    publish(kept.topic, lines(b"a", b"bc"), client)
    publish_counted(kept.topic, counted(b"d", b"e\n"), client)
    assert client.written == b""
    assert [size for *_, size in client.later] == [len(b"pa\npbc\n"), 3]
    kept.topic.partitions[0].write()
    assert client.told() == b"ok\r\nok\r\n+ 2\n+ 3\n"
    assert client.written == b""


@pytest.mark.parametrize("eol", [b"\n", b"\r\n"])
def test_each_message_that_could_not_be_stored_is_refused(kept, client, eol):
    publish(kept.topic, lines(b"a", b"b", eol=eol), client)
    publish_counted(kept.topic, counted(b"c", b"d", eol=eol), client)
    publish_counted(kept.topic, counted(b"e", id=b"1", eol=eol), client)
    kept.topic.partitions[0].write(FULL)
    kept.memory.state.save()
    assert client.told() == REFUSED.replace(b"\n", eol) * 5
    publish(kept.topic, lines(b"a", eol=eol), client)
    kept.topic.partitions[0].write()
    assert client.told() == b"ok\r\n"
    assert kept.left() == [b"a"]


def test_a_message_with_an_id_is_answered_when_it_is_stored_and_its_id_too(kept, client):
    for _ in range(2):
        publish_counted(kept.topic, counted(b"a", id=b"1"), client)
    assert (len(client.later), client.written) == (2, b"")
    kept.topic.partitions[0].write()
    kept.memory.state.save()
    assert client.told() == b"+ 0\n+ 0\n"
    publish_counted(kept.topic, counted(b"a", id=b"1"), client)
    assert (client.later, client.written) == ([], b"+ 0\n")


@pytest.mark.parametrize(("error", "reply"), [(None, b"+ delayed\n"), (FULL, REFUSED)])
def test_a_delayed_message_is_answered_when_it_is_kept(kept, client, error, reply):
    publish_counted(kept.topic, counted(b"a", delay=5.0), client)
    assert (len(client.later), client.written) == (1, b"")
    kept.memory.state.save(error)
    assert client.told() == reply
    kept.topic.partitions[0].waits = False
    kept.time.sleep(5)
    assert kept.left() == [b"a"] * (error is None)
