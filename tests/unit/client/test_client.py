"""The client's calls: what each sends, and what it makes of the answer."""

from __future__ import annotations

import math
import re
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from gstream.client import Client
from gstream.client.arguments import MAX_COUNT
from gstream.client.message import Message
from gstream.client.window import WINDOW_MESSAGES
from gstream.errors import DisconnectedError, RefusedError

END = b""

# --- publish


@pytest.mark.parametrize(
    ("bodies", "arguments", "exchange", "count"),
    [
        ([], {}, None, 0),
        (b"Hello", {}, (b"pHello\n", b"ok\r\n"), 1),
        ([b"one", b"two"], {}, (b"pone\nptwo\n", b"ok\r\nok\r\n"), 2),
        ([b"a", b"b\n"], {}, (b"pa\nP2\nb\n\n", b"ok\r\n+ 1\n"), 2),
        (b"a", {"key": "k"}, (b"P1 key=k\na\n", b"+ 0\n"), 1),
        ([b"a", b"b"], {"key": b"k"}, (b"P1 key=k\na\nP1 key=k\nb\n", b"+ 0\n+ 1\n"), 2),
        ([b"a"], {"delay_seconds": 1.5}, (b"P1 delay=1.500\na\n", b"+ delayed\n"), 1),
        (b"a", {"id": "7"}, (b"P1 id=7\na\n", b"+ 0\n"), 1),
    ],
)
def test_publish_counts_the_confirmations(connect, bodies, arguments, exchange, count):
    client, _ = connect(*([exchange] if exchange else []))
    assert client.publish(bodies, **arguments) == count


def test_publish_sends_no_more_than_a_window_before_it_reads(connect):
    windows = [WINDOW_MESSAGES, WINDOW_MESSAGES, 500]
    client, peer = connect(*((b"px\n" * count, b"ok\r\n" * count) for count in windows))
    assert client.publish(iter([b"x"] * 2500)) == 2500
    assert [window.count(b"\n") for window in peer.windows] == windows


@pytest.mark.parametrize(
    ("bodies", "arguments", "error"),
    [
        ("text", {}, TypeError),
        ([b"a", "text"], {}, TypeError),
        ([b"a"], {"id": "7"}, ValueError),
        (iter([b"a"]), {"id": "7"}, ValueError),
        (b"a", {"delay_seconds": -1}, ValueError),
        (b"a", {"delay_seconds": 1e9}, ValueError),
        (b"a", {"key": 5}, TypeError),
        (b"a", {"id": 5}, TypeError),
        (b"a", {"id": ""}, ValueError),
        (b"a", {"id": "\ud800"}, ValueError),
    ],
)
def test_what_cannot_be_published_is_not_sent(connect, bodies, arguments, error):
    client, peer = connect((b"z\n", b"+ \n"))
    with pytest.raises(error):
        client.publish(bodies, **arguments)
    assert peer.windows == []
    client.ping()


def test_a_refusal_tells_how_many_were_stored(connect):
    replies = b"ok\r\n" * 2 + b"- full no room\n" + b"ok\r\n" + b"- toobig too long\n"
    client, _ = connect((b"px\n" * 1000, b"ok\r\n" * 1000), (b"px\n" * 5, replies), (b"z\n", b"+ \n"))
    with pytest.raises(RefusedError) as caught:
        client.publish([b"x"] * 1005)
    assert (caught.value.code, str(caught.value), caught.value.confirmed) == ("full", "full: no room", 1003)
    client.ping()  # it is still in step


def test_nothing_is_sent_behind_a_window_that_was_refused(connect):
    client, peer = connect((b"px\n" * 1000, b"- full no room\n" * 1000))
    with pytest.raises(RefusedError) as caught:
        client.publish([b"x"] * 3000)
    assert caught.value.confirmed == 0
    assert len(peer.windows) == 1


@pytest.mark.parametrize(
    ("reply", "confirmed"),
    [
        ([END], 1000),
        ([b"ok\r\n", END], 1001),
        ([b"ok\r\nok", END], 1001),
        ([b"ok\r\n- full no room\nok\r\n", END], 1002),
        ([b"ok\r\n"], 1001),
    ],
)
def test_a_lost_confirmation_tells_how_many_came(connect, reply, confirmed):
    client, _ = connect((b"px\n" * 1000, b"ok\r\n" * 1000), (b"px\n" * 5, reply))
    with pytest.raises(DisconnectedError) as caught:
        client.publish([b"x"] * 1005)
    assert caught.value.confirmed == confirmed


def test_an_answer_that_is_no_confirmation(connect):
    client, _ = connect((b"px\n", b"ko\r\n"))
    with pytest.raises(DisconnectedError, match=r"^queue.example:9000 answered b'ko\\r\\n' where ok was expected$"):
        client.publish(b"x")


@pytest.mark.parametrize(
    "pieces",
    [[b"o", b"k\r", b"\nok\r\nok", b"\r\n"], [b"ok\r\n# a notice\nok\r\nok\r\n"], [b"+ 0:1\nok\r\n+ ", b"delayed\n"]],
)
def test_confirmations_in_pieces(connect, pieces):
    client, _ = connect((b"px\npx\npx\n", pieces))
    assert client.publish([b"x"] * 3) == 3


# --- consume


@pytest.mark.parametrize(
    ("reply", "bodies"),
    [
        (b".\n", []),
        (b"= 0 1 Hello\n.\n", [b"Hello"]),
        (b"$ 0 1 3\na\rb\n= 1 1 b\n.\n", [b"a\rb", b"b"]),
        ([b"= 0 1 a\n= 1 1", b" b\n", b"$ 2 1 3\n", b"c\n", b"c", b"\n.", b"\n"], [b"a", b"b", b"c\nc"]),
    ],
)
def test_consume_gives_the_bodies(connect, reply, bodies):
    client, _ = connect((b"w0.000 10\n", reply))
    assert client.consume(10) == bodies


@pytest.mark.parametrize(
    ("arguments", "sent", "timeout"),
    [
        ({}, b"w0.000 1\n", 3.0),
        ({"count": 100}, b"w0.000 100\n", 3.0),
        ({"wait_seconds": 5}, b"w5.000 1\n", 8.0),
        ({"count": 2, "wait_seconds": 0.25}, b"w0.250 2\n", 3.25),
    ],
)
def test_how_long_consume_waits(connect, arguments, sent, timeout):
    client, peer = connect((sent, b".\n"), timeout=3.0)
    assert client.consume(**arguments) == []
    assert peer.timeouts[-1] == timeout


@pytest.mark.parametrize("seconds", [None, 1e8, math.inf], ids=str)
def test_a_long_wait_is_made_of_several(connect, seconds):
    long = b"w3600.000 2\n"
    client, peer = connect((long, b".\n"), (long, b".\n"), (long, b"= 0 1 a\n.\n"), timeout=3.0)
    assert client.consume(2, wait_seconds=seconds) == [b"a"]
    assert peer.timeouts.count(3603.0) == 3


def test_several_waits_take_the_time_that_was_given(connect):
    client, _ = connect((b"w3600.000 1\n", b".\n"), (b"w3600.000 1\n", b".\n"), (b"w0.500 1\n", b".\n"))
    assert client.consume(wait_seconds=7200.5) == []


@pytest.mark.parametrize("call", ["consume", "lease"])
@pytest.mark.parametrize(
    "arguments",
    [{"count": 0}, {"count": -1}, {"count": MAX_COUNT + 1}, {"wait_seconds": -1}, {"wait_seconds": math.nan}],
)
def test_what_cannot_be_asked_for(connect, call, arguments):
    client, peer = connect()
    with pytest.raises(ValueError, match=r"a count is 1 to|seconds are 0 or more"):
        getattr(client, call)(**arguments)
    assert peer.windows == []


@pytest.mark.parametrize("end", [[END], [b"= 1 1 unfinished", END], [b"$ 1 1 3\nab", END], [], [b"- internal a bug\n"]])
def test_what_was_taken_is_not_lost_with_the_connection(connect, end):
    client, _ = connect((b"w0.000 10\n", [b"= 0 1 a\n", *end]))
    assert client.consume(10) == [b"a"]
    with pytest.raises(DisconnectedError):
        client.ping()


@pytest.mark.parametrize(
    ("reply", "error"),
    [([END], DisconnectedError), ([b"= 0 1 a"], DisconnectedError), ([b"- internal\n"], RefusedError)],
)
def test_nothing_but_an_error(connect, reply, error):
    client, _ = connect((b"w0.000 10\n", reply))
    with pytest.raises(error):
        client.consume(10)


# --- the others


def test_ping_takes_its_time(connect):
    client, _ = connect((b"z\n", b"+ \n"))
    assert 0 < client.ping() < 60


def test_peek(connect):
    client, _ = connect((b"v1\n", b".\n"), (b"v2\n", b"= 0 1 a\n$ 1 3 1\n\n\n.\n"))
    assert client.peek() == []
    assert client.peek(2) == [Message("0", 1, b"a"), Message("1", 3, b"\n")]
    with pytest.raises(ValueError, match=r"^a count is 1 to 999999999, not 0$"):
        client.peek(0)


def test_details_are_asked_for_and_given(connect):
    client, _ = connect((b"b2\n", b"+ \n"), (b"v1\n", b"$ 0 1 1 time=1000 key=k h.a=b\nx\n.\n"), details=True)
    time = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert client.peek() == [Message("0", 1, b"x", time, b"k", (("a", b"b"),))]


def test_use_chooses_for_the_calls_that_follow(connect):
    client, _ = connect(
        (b"tnews\n", b"+ news\n"), (b"ga\n", b"+ a\n"), (b"tdefault\n", b"+ default\n"), (b"gb\n", b"+ b\n")
    )
    client.use("news")
    assert (client.topic, client.group) == ("news", "default")
    client.use(group="a")
    client.use()
    assert (client.topic, client.group) == ("news", "a")
    client.use("default", "b")
    assert (client.topic, client.group) == ("default", "b")


def test_a_name_that_is_refused_is_not_chosen(connect):
    client, _ = connect((b"tno spaces\n", b"- name no\n"))
    with pytest.raises(RefusedError):
        client.use("no spaces", "a")
    with pytest.raises(ValueError, match="a name is"):
        client.use("a\nb")
    assert (client.topic, client.group) == ("default", "default")


@pytest.mark.parametrize(
    ("where", "sent"),
    [
        (7, b"f7\n"),
        (0, b"f0\n"),
        (-10, b"f-10\n"),
        ("7", b"f7\n"),
        ("1:7", b"f1:7\n"),
        ("oldest", b"f^\n"),
        ("^", b"f^\n"),
        ("end", b"f$\n"),
        ("$", b"f$\n"),
        (datetime(2026, 11, 24, 21, 30, 0, 500_000, tzinfo=UTC), b"f@1795555800.500000\n"),
        (datetime(2026, 11, 24, 22, 30, tzinfo=timezone(timedelta(hours=1))), b"f@1795555800.000000\n"),
        (datetime(1900, 1, 1, tzinfo=UTC), b"f@0.000000\n"),
    ],
)
def test_seek(connect, where, sent):
    client, _ = connect((sent, b"+ 1:7\n"))
    assert client.seek(where) == ["1:7"]


@pytest.mark.parametrize("where", ["", "somewhere", "-1", "1:", "7\n", datetime(2026, 1, 1)])  # noqa: DTZ001
def test_seek_to_nowhere(connect, where):
    client, peer = connect()
    with pytest.raises(ValueError, match=r"^seek takes "):
        client.seek(where)
    assert peer.windows == []


@pytest.mark.parametrize(
    ("where", "text"), [(b"7", "not bytes"), (1.5, "not float"), (None, "not NoneType")], ids=["bytes", "float", "None"]
)
def test_seek_to_what_is_no_place(connect, where, text):
    client, peer = connect()
    with pytest.raises(TypeError, match=rf"^seek takes an id \(a str\), a number \(an int\), .*, {text}$"):
        client.seek(where)
    assert peer.windows == []


def test_a_name_is_a_str(connect):
    client, peer = connect()
    for names in ((b"news",), (None, b"a")):
        with pytest.raises(TypeError, match=r"^a name is a str, not bytes: decode it, as in name\.decode\(\)$"):
            client.use(*names)
    assert peer.windows == []


@pytest.mark.parametrize(
    ("host", "port", "error", "text"),
    [
        ("queue.example:9000", 8080, ValueError, "host and port are two arguments: 'queue.example', 9000"),
        ("queue.example", 0, ValueError, "a port is 1 to 65535, not 0"),
        ("queue.example", 65536, ValueError, "a port is 1 to 65535, not 65536"),
        ("queue.example", "9000", TypeError, r"a port is an int, not str: give int\('9000'\)"),
    ],
)
def test_what_is_no_address_is_not_connected_to(host, port, error, text):
    with pytest.raises(error, match=f"^{text}"):
        Client(host, port)


def test_two_threads_at_once_are_told(connect):
    """The second one comes while the first waits for its answer; what it would have sent is not sent."""
    raised = []

    def meddle():
        for call in (client.ping, lambda: lease.acknowledge(*lease.messages)):
            try:
                call()
            except RuntimeError as error:
                raised.append(str(error))

    def answer():
        thread = threading.Thread(target=meddle)
        thread.start()
        thread.join()
        return b"+ \n"

    client, peer = connect((b"r0.000 1\n", b"= 0 1 a\n.\n"), (b"z\n", [answer]), (b"z\n", b"+ \n"))
    lease = client.lease()
    client.ping()
    assert raised == ["a client belongs to one thread at a time; make one for each"] * 2
    client.ping()
    assert peer.windows == [b"r0.000 1\n", b"z\n", b"z\n"]


def test_several_places(connect):
    client, _ = connect((b"f^\n", b"+ 0:0 1:5\n"))
    assert client.seek("oldest") == ["0:0", "1:5"]


def test_stats_are_numbers_where_they_are(connect):
    reply = b"messages 5\nuptime 1.5\nversion 0.1\nodd \xff x\n.\n"
    client, _ = connect((b"i\n", reply), (b"inews\n", b"- name no such topic\n"))
    assert client.stats() == {"messages": 5, "uptime": 1.5, "version": "0.1", "odd": "\ufffd x"}
    with pytest.raises(RefusedError, match=r"^name: no such topic$"):
        client.stats("news")


def test_stats_that_are_none(connect):
    client, _ = connect((b"i\n", b"messages\n.\n"))
    with pytest.raises(DisconnectedError, match=re.escape(r"answered b'messages\n' where a name and a value")):
        client.stats()


def test_topics(connect):
    client, _ = connect((b"l\n", b"topic.default 1\ntopic.a.dlq 20\nsomething.else 3\ntopic.odd x\n.\n"))
    assert client.topics() == {"default": 1, "a.dlq": 20}


def test_forget_group(connect):
    client, _ = connect((b"xaudit\n", b"+ audit\n"), (b"xaudit\n", b"- busy the group has consumers\n"))
    client.forget_group("audit")
    with pytest.raises(RefusedError) as caught:
        client.forget_group("audit")
    assert caught.value.code == "busy"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, b""),
        ({"partitions": 8}, b" partitions=8"),
        ({"retain_bytes": 0, "retain_seconds": 0}, b" retain-bytes=0 retain-seconds=0.000"),
        ({"retain_bytes": 1 << 30}, b" retain-bytes=1073741824"),
        ({"retain_bytes": "default", "retain_seconds": "default"}, b" retain-bytes=default retain-seconds=default"),
        ({"partitions": 1, "retain_seconds": 0.5}, b" partitions=1 retain-seconds=0.500"),
    ],
)
def test_a_topic_is_made(connect, arguments, said):
    client, _ = connect((b"mlog%b\n" % said, b"+ log\n"))
    client.create_topic("log", **arguments)
    assert client.topic == "default"


@pytest.mark.parametrize(
    "arguments",
    [
        {"partitions": 0},
        {"partitions": -1},
        {"retain_bytes": -1},
        {"retain_bytes": "1GiB"},
        {"retain_seconds": -0.5},
        {"retain_seconds": math.inf},
        {"retain_seconds": "1d"},
    ],
)
def test_what_no_topic_can_have_is_not_sent(connect, arguments):
    client, _ = connect()
    with pytest.raises(ValueError, match=r", not "):
        client.create_topic("log", **arguments)
    with pytest.raises(ValueError, match=r"^a name is "):
        client.create_topic("a\nb")


def test_a_topic_is_made_once_more_when_the_connection_breaks(reconnect):
    client, _ = reconnect([(b"mlog\n", [END])], [(b"mlog\n", b"+ log\n")])
    client.create_topic("log")


def test_a_topic_is_changed_only_if_it_is_there(connect):
    figures = b"partitions 1\n.\n"
    client, _ = connect(
        (b"ilog\n", figures), (b"mlog retain-bytes=5\n", b"+ log\n"), (b"inone\n", b"- name no such topic\n")
    )
    client.change_topic("log", retain_bytes=5)
    with pytest.raises(RefusedError) as caught:
        client.change_topic("none", retain_seconds="default")
    assert caught.value.code == "name"


def test_a_topic_is_removed_once(reconnect):
    client, _ = reconnect([(b"ylog\n", b"- busy the topic has consumers\n"), (b"ylog\n", [END])])
    with pytest.raises(RefusedError) as caught:
        client.delete_topic("log")
    assert caught.value.code == "busy"
    with pytest.raises(DisconnectedError):
        client.delete_topic("log")


def test_an_answer_that_does_not_fit(connect):
    client, _ = connect((b"xaudit\n", b"ok\r\n"))
    with pytest.raises(DisconnectedError, match=r"answered b'ok\\r\\n' where \+ was expected"):
        client.forget_group("audit")
