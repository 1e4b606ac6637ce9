"""Bytes to commands: one table of cases, each fed in several ways; all of them must come to the same.

What can stand behind each letter is in ``test_protocol_arguments.py``, ``P`` in ``test_protocol_bodies.py``.
"""

from __future__ import annotations

import pytest

from gstream.protocol import COMMANDS, Consume, Decoder, Failure, Ping, Publish

LF, CRLF = b"\n", b"\r\n"
UNKNOWN, ARGS = "unknown", "args"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


def wait(seconds, count=1, counted=False, eol=LF):
    return "w", seconds, count, counted, eol


CASES = {
    "nothing": (b"", []),
    "publish": (b"pHello\n", [("p", b"Hello", LF)]),
    "publish, CRLF": (b"pHello\r\n", [("p", b"Hello", CRLF)]),
    "publish, empty": (b"p\n", [("p", b"", LF)]),
    "publish, empty, CRLF": (b"p\r\n", [("p", b"", CRLF)]),
    "publish, every byte but LF": (
        b"p" + bytes(set(range(256)) - {10}) + b"\n",
        [("p", bytes(set(range(256)) - {10}), LF)],
    ),
    "publish, NUL": (b"p\0a\0\n", [("p", b"\0a\0", LF)]),
    "publish, 255": (b"p\xff\xfd\x06\xff\n", [("p", b"\xff\xfd\x06\xff", LF)]),
    "publish, CR inside": (b"pa\rb\n", [("p", b"a\rb", LF)]),
    "publish, CR inside, CRLF": (b"p\ra\rb\r\r\n", [("p", b"\ra\rb\r", CRLF)]),
    "publish, body like a command": (b"pp\npc\npq\npz\n", [("p", body, LF) for body in (b"p", b"c", b"q", b"z")]),
    "publish, spaces": (b"p two  words \n", [("p", b" two  words ", LF)]),
    "publish run": (b"pa\npbb\np\npc\n", [("p", body, LF) for body in (b"a", b"bb", b"", b"c")]),
    "publish run, CRLF": (b"pa\r\npbb\r\np\r\n", [("p", body, CRLF) for body in (b"a", b"bb", b"")]),
    "publish run, mixed": (
        b"pa\npb\r\npc\r\npd\npe\n",
        [("p", b"a", LF), ("p", b"b", CRLF), ("p", b"c", CRLF), ("p", b"d", LF), ("p", b"e", LF)],
    ),
    "publish run, CR inside one": (b"pa\np\rb\npc\n", [("p", b"a", LF), ("p", b"\rb", LF), ("p", b"c", LF)]),
    "publish run, unfinished": (b"pa\npb\npc", [("p", b"a", LF), ("p", b"b", LF), ("p", b"c", LF)]),
    "publish run, half a CRLF at the end": (b"pa\r\npb\r", [("p", b"a", CRLF), ("p", b"b", CRLF)]),
    "consume": (b"c\n", [("c", LF)]),
    "consume, CRLF": (b"c\r\n", [("c", CRLF)]),
    "consume run": (b"c\nc\nc\n", [("c", LF)] * 3),
    "consume run, CRLF": (b"c\r\nc\r\n", [("c", CRLF)] * 2),
    "consume run, mixed": (b"c\nc\r\nc\r\nc\n", [("c", LF), ("c", CRLF), ("c", CRLF), ("c", LF)]),
    "consume, unfinished": (b"c\nc", [("c", LF), ("c", LF)]),
    "consume, half a CRLF at the end": (b"c\r", [("c", CRLF)]),
    "consume, two CRs": (b"c\r\r\n", [("-", UNKNOWN, CRLF)]),
    "c is a whole line": (b"connection: close\nc \ncc\nc\0\n", [("-", UNKNOWN, LF)] * 4),
    "consume run ends at another word": (b"c\nc\ncc\nc\n", [("c", LF), ("c", LF), ("-", UNKNOWN, LF), ("c", LF)]),
    "quit": (b"q\n", [("q", LF)]),
    "quit, CRLF": (b"q\r\n", [("q", CRLF)]),
    "quit, unfinished": (b"q", [("q", LF)]),
    "q is a whole line": (b"quit\nq \nq\0\r\n", [("-", UNKNOWN, LF), ("-", UNKNOWN, LF), ("-", UNKNOWN, CRLF)]),
    "what stands behind q is decoded": (b"q\nc\n", [("q", LF), ("c", LF)]),
    "publish and consume": (
        b"pa\nc\npb\r\nc\r\nc\n",
        [("p", b"a", LF), ("c", LF), ("p", b"b", CRLF), ("c", CRLF), ("c", LF)],
    ),
    "blank lines": (b"\n\r\n\n", []),
    "blank lines between commands": (
        b"\npa\n\npb\n\r\nc\n\nc\n",
        [("p", b"a", LF), ("p", b"b", LF), ("c", LF), ("c", LF)],
    ),
    "a lone CR is a line ending's half": (b"\r", []),
    "CR in front": (b"\rc\n", [("-", UNKNOWN, LF)]),
    "spaces are no blank line": (b" \n", [("-", UNKNOWN, LF)]),
    "unknown": (b"j\nXYZ\nC\nU\n0\n\0\n", [("-", UNKNOWN, LF)] * 6),
    "unknown, CRLF": (b"j\r\n", [("-", UNKNOWN, CRLF)]),
    "unknown, unfinished": (b"j", [("-", UNKNOWN, LF)]),
    "unknown, not ASCII": ("ü\n".encode(), [("-", UNKNOWN, LF)]),
    "ping": (b"z\n", [("z", b"", LF)]),
    "ping, token": (b"z any token \xff\0\r\r\n", [("z", b" any token \xff\0\r", CRLF)]),
    "help": (b"h\nh\r\n", [("h", LF), ("h", CRLF)]),
    "h is a whole line": (b"help\n", [("-", UNKNOWN, LF)]),
    "wait": (b"w\n", [wait(None)]),
    "wait, CRLF": (b"w\r\n", [wait(None, eol=CRLF)]),
    "wait, seconds": (
        b"w0\nw5\nw0.5\nw.5\nw5.\nw007\nw999999999\n",
        [wait(seconds) for seconds in (0.0, 5.0, 0.5, 0.5, 5.0, 7.0, 999999999.0)],
    ),
    "wait, seconds and count": (
        b"w0 1\nw5 100\r\nw0.25 999999999\nw1 007\n",
        [wait(0.0, 1, True), wait(5.0, 100, True, CRLF), wait(0.25, 999999999, True), wait(1.0, 7, True)],
    ),
    "wait, no seconds": (b"wx\nw-1\nw+1\nw1e3\nwnan\nwinf\nw.\nw1.2.3\nw1,5\nw5s\n", [("-", ARGS, LF)] * 10),
    "wait, too many digits": (b"w1234567890\nw0.1234567890\nw1 1234567890\n", [("-", ARGS, LF)] * 3),
    "wait, bad count": (b"w1 0\nw1 000\nw1 -1\nw1 1.5\nw1 x\nw1 \nw1 2 3\n", [("-", ARGS, LF)] * 7),
    "wait, count without seconds": (b"w 5\n", [("-", ARGS, LF)]),
    "wait, spaces": (b"w5  5\nw 5 5\nw5 5 \nw5\t5\n", [("-", ARGS, LF)] * 4),
    "wait, other digits": ("w\u0665\nw\u00b2\n".encode(), [("-", ARGS, LF)] * 2),
    "wait, CR inside": (b"w5\r\r\n", [("-", ARGS, CRLF)]),
    "not quite HTTP": (
        b"GET /\nGET / HTTP/x\nGET  / HTTP/1.1\nOPTIONs / HTTP/1.1\nGET / HTTP/1.1 \n",
        [("-", UNKNOWN, LF)] * 5,
    ),
    "HTTP in a later line": (b"\nGET / HTTP/1.1\r\nc\n", [("-", UNKNOWN, CRLF), ("c", LF)]),
    "HTTP in a message": (b"pGET / HTTP/1.1\r\n", [("p", b"GET / HTTP/1.1", CRLF)]),
    "HTTP in a counted message": (
        b"P16\nGET / HTTP/1.1\r\n\nc\n",
        [("P", b"GET / HTTP/1.1\r\n", None, 0.0, None, LF), ("c", LF)],
    ),
    "TLS in a counted message": (b"P3\n\x16\x03\x01\n", [("P", b"\x16\x03\x01", None, 0.0, None, LF)]),
    "TLS in a later line": (b"z\n\x16\x03\x01\n", [("z", b"", LF), ("-", UNKNOWN, LF)]),
    "not quite TLS": (b"\x16\x03\x05\n\x16\x02\n", [("-", UNKNOWN, LF)] * 2),
    "TLS in a message": (b"p\x16\x03\x01\n", [("p", b"\x16\x03\x01", LF)]),
}
"""Name: what is sent, and the commands it is."""

FOREIGN = {
    "GET": (b"GET /c HTTP/1.1\r\nHost: localhost\r\n\r\npHello\n", "http"),
    "PUT": (b"PUT / HTTP/1.1\r\n\r\npHello\n", "http"),
    "PATCH": (b"PATCH /p HTTP/1.1\n", "http"),
    "POST, what follows is not executed": (b"POST /p HTTP/1.0\npHello\nc\nq\n", "http"),
    "HEAD": (b"HEAD / HTTP/1.1\r\n", "http"),
    "OPTIONS": (b"OPTIONS * HTTP/1.1\r\n", "http"),
    "CONNECT": (b"CONNECT host:443 HTTP/1.1\r\n", "http"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http"),
    "HTTP, no digit behind the point": (b"GET / HTTP/3\n", "http"),
    "HTTP, unfinished": (b"GET / HTTP/1.1", "http"),
    "HTTP, half a CRLF": (b"GET / HTTP/1.1\r", "http"),
    "TLS": (HELLO, "tls"),
    "TLS 1.3, whose hello says 1.0": (b"\x16\x03\x01\x02\x00\npHello\nc\n", "tls"),
    "SSL 3": (b"\x16\x03\x00", "tls"),
    "TLS, a record version of 1.3": (b"\x16\x03\x04\npHello\n", "tls"),
    "TLS, a long hello": (HELLO + bytes(5000), "tls"),
}


def test_blank_lines_cost_nothing():
    decoder = Decoder(1 << 20)
    assert list(decoder.feed(b"\n\r\n" * 20_000 + b"z1\n")) == [Ping(b"1", LF)]


def every_byte(data):
    return [data[at : at + 1] for at in range(len(data))]


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def test_whole(case, decode):
    data, expected = case
    assert decode([data]).commands == expected


def test_byte_by_byte(case, decode):
    data, expected = case
    assert decode(every_byte(data)).commands == expected


def test_byte_by_byte_with_nothing_between(case, decode):
    data, expected = case
    assert decode([piece for byte in every_byte(data) for piece in (b"", byte)]).commands == expected


def test_cut_in_two_anywhere(case, decode):
    data, expected = case
    for at in range(len(data) + 1):
        assert decode([data[:at], data[at:]]).commands == expected, at


def test_with_the_next_command_glued_on(case, decode):
    data, expected = case
    for following, commands in (
        (b"zglued\n", [("z", b"glued", LF)]),
        (b"pglued\r\n", [("p", b"glued", CRLF)]),
        (b"c\n", [("c", LF)]),
    ):
        if not data or data.endswith(LF):
            assert decode([data + following]).commands == expected + commands


def test_behind_another_command(case, decode):
    data, expected = case
    assert decode([b"z\n", data]).commands == [("z", b"", LF), *expected]
    assert decode([b"z\n" + data]).commands == [("z", b"", LF), *expected]


def test_each_line_by_itself(case, decode):
    data, expected = case
    assert decode(data.splitlines(keepends=True) if b"\r" not in data else [data]).commands == expected


def test_nobody_is_taken_for_a_telnet_client_who_is_none(case, decode):
    assert decode([case[0]]).answers == b""


@pytest.fixture(params=FOREIGN.values(), ids=FOREIGN.keys())
def foreign(request):
    return request.param


def test_another_protocol_is_recognised_and_nothing_of_it_decoded(foreign, decode):
    data, name = foreign
    assert decode([data]).commands == [("foreign", name)]


def test_another_protocol_is_recognised_however_it_is_cut(foreign, decode):
    data, name = foreign
    assert decode(every_byte(data)).commands == [("foreign", name)]
    for at in range(min(len(data), 100)):
        assert decode([data[:at], data[at:]]).commands == [("foreign", name)], at


def test_another_protocol_is_recognised_in_the_first_line_only(foreign, decode):
    data, _ = foreign
    assert ("foreign", "http") not in decode([b"z\n", data]).commands
    assert ("foreign", "tls") not in decode([b"z\n" + data]).commands


def test_nothing_is_no_first_line(decode):
    assert decode([b"", b"pHello\n", b"\x16\x03\x01\n"]).commands == [("p", b"Hello", LF), ("-", UNKNOWN, LF)]
    assert decode([b"", HELLO]).commands == [("foreign", "tls")]


def test_tls_is_recognised_with_its_third_byte():
    decoder = Decoder(100)
    assert list(decoder.feed(b"\x16\x03")) == []
    assert [command.name for command in decoder.feed(b"\x01")] == ["tls"]
    assert list(decoder.feed(b"pHello\nc\n")) == []
    assert list(decoder.close()) == []


@pytest.mark.parametrize("letter", sorted(set(range(256)) - {*COMMANDS, ord("\n"), 255}))
def test_a_line_that_begins_with_another_byte_is_unknown(letter, decode):
    data = bytes([letter])
    expected = [] if data == b"\r" else [("-", UNKNOWN, LF)]
    assert decode([data + b"Hello\n"]).commands == [("-", UNKNOWN, LF)]
    assert decode([data + b"\n"]).commands == expected


def test_a_burst_is_one_command():
    decoder = Decoder(1 << 20)
    for burst in (b"z\n", b""):  # the first burst of a connection, and a later one
        assert list(decoder.feed(burst)) == [Ping(b"", LF)] * bool(burst)
        assert list(decoder.feed(b"pa\npb\npc\n")) == [Publish(b"pa\npb\npc\n", 3, LF)]
        assert list(decoder.feed(b"pa\r\npb\r\n")) == [Publish(b"pa\npb\n", 2, CRLF)]
        assert list(decoder.feed(b"c\nc\nc\n")) == [Consume(3, LF)]
        assert list(decoder.feed(b"c\r\nc\r\n")) == [Consume(2, CRLF)]


def test_a_failure_tells_what_to_send_instead():
    failures = list(Decoder(100).feed(b"hello\nw5 x\n"))
    assert all(isinstance(failure, Failure) for failure in failures)
    assert [str(failure.error) for failure in failures] == [
        "no such command; h lists them",
        "w takes [seconds[ n]], as in w5 or w0.5 100",
    ]


def test_commands_come_as_they_are_asked_for():
    commands = iter(Decoder(100).feed(b"z1\nz2\n" * 1000))
    assert next(commands) == Ping(b"1", LF)
    assert next(commands) == Ping(b"2", LF)


def test_close_without_anything_held_is_nothing():
    decoder = Decoder(100)
    assert list(decoder.close()) == []
    assert list(decoder.feed(b"z\n")) == [Ping(b"", LF)]
    assert list(decoder.close()) == []


def test_close_is_the_end_once():
    decoder = Decoder(100)
    assert list(decoder.feed(b"z1")) == []
    assert list(decoder.close()) == [Ping(b"1", LF)]
    assert list(decoder.close()) == []
