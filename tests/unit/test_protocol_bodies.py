"""``P``: counted bodies, whatever they hold and however they are cut; fields, limits and ends."""

from __future__ import annotations

import tracemalloc

import pytest

from gstream.protocol import Consume, Decoder, Failure, Negotiate, Ping, PublishCounted

LF, CRLF = b"\n", b"\r\n"
LIMIT = 16
TOO_BIG, ARGS = "toobig", "args"


def publish(body, key=None, seconds=0.0, id=None, eol=LF):
    return "P", body, key, seconds, id, eol


EVERY_BYTE = bytes(range(256))

CASES = {
    "a body": (b"P5\nHello\n", [publish(b"Hello")]),
    "its line ends in CRLF": (b"P5\r\nHello\n", [publish(b"Hello", eol=CRLF)]),
    "its body ends in CRLF": (b"P5\nHello\r\n", [publish(b"Hello")]),
    "both do": (b"P5\r\nHello\r\n", [publish(b"Hello", eol=CRLF)]),
    "empty": (b"P0\n\nP0\r\n\r\n", [publish(b""), publish(b"", eol=CRLF)]),
    "line endings inside": (b"P7\na\nb\r\nc\r\r\n", [publish(b"a\nb\r\nc\r")]),
    "line endings only": (b"P1\n\n\nP2\n\r\n\r\nP1\n\r\n", [publish(b"\n"), publish(b"\r\n"), publish(b"\r")]),
    "every byte": (b"P256\n" + EVERY_BYTE + b"\n", [publish(EVERY_BYTE)]),
    "like commands": (b"P6\nq\nP1\nx\nz\n", [publish(b"q\nP1\nx"), ("z", b"", LF)]),
    "255 at the beginning": (b"P4\n\xff\xf4\xff\xff\n", [publish(b"\xff\xf4\xff\xff")]),
    "leading zeros": (b"P005\nHello\n", [publish(b"Hello")]),
    "a run": (b"P1\na\nP1\nb\nP2\ncc\nP0\n\nP1\nd\n", [publish(body) for body in (b"a", b"b", b"cc", b"", b"d")]),
    "a run, CRLF": (b"P1\r\na\r\nP2\r\nbb\r\n", [publish(b"a", eol=CRLF), publish(b"bb", eol=CRLF)]),
    "a run, mixed": (
        b"P1\na\r\nP1\r\nb\nP1\r\nc\nP1\nd\n",
        [publish(b"a"), publish(b"b", eol=CRLF), publish(b"c", eol=CRLF), publish(b"d")],
    ),
    "a run around fields": (
        b"P1\na\nP1 key=k\nb\nP1\nc\n",
        [publish(b"a"), publish(b"b", b"k"), publish(b"c")],
    ),
    "among others": (
        b"p1\nP1\n2\nc\nP1\n3\n\nz\n",
        [("p", b"1", LF), publish(b"2"), ("c", LF), publish(b"3"), ("z", b"", LF)],
    ),
    "key": (b"P1 key=user\nx\n", [publish(b"x", b"user")]),
    "key, empty": (b"P1 key=\nx\n", [publish(b"x", b"")]),
    "key, encoded": (b"P1 key=a%20%25%0d%0A%00%fF+=\xe9\nx\n", [publish(b"x", b"a %\r\n\0\xff+=\xe9")]),
    "delay": (b"P1 delay=0.5\nx\n", [publish(b"x", seconds=0.5)]),
    "delay, whole": (b"P1 delay=60\r\nx\n", [publish(b"x", seconds=60.0, eol=CRLF)]),
    "delay, encoded": (b"P1 delay=%31\nx\n", [publish(b"x", seconds=1.0)]),
    "id": (b"P1 id=42\nx\n", [publish(b"x", id=b"42")]),
    "all of them in any order": (b"P1 id=%34 delay=1 key=k\na\n", [publish(b"a", b"k", 1.0, b"4")]),
    "not followed by a line ending": (b"P3\nfour\nz\n", [("-", ARGS, LF), ("z", b"", LF)]),
    "not followed by a line ending, CRLF": (b"P3\r\nfour\r\n", [("-", ARGS, CRLF)]),
    "followed by much more": (b"P3\nabc\0\xff\rP1 \nP1\nx\n", [("-", ARGS, LF), publish(b"x")]),
    "followed by CR and more": (b"P3\nabc\rx\nz\n", [("-", ARGS, LF), ("z", b"", LF)]),
    "followed by two CRs": (b"P3\nabc\r\r\nz\n", [("-", ARGS, LF), ("z", b"", LF)]),
    "followed by 255": (b"P3\nabc\xff\nz\n", [("-", ARGS, LF), ("z", b"", LF)]),
    "shorter than it says": (b"P5\nabc\nzz\nz\n", [("-", ARGS, LF), ("z", b"", LF)]),
}
"""Name: what is sent, and the commands it is."""

NO_LENGTH = [
    *(b"", b" ", b"x", b"-1", b"+1", b"1.0", b"1_0", b" 1", b"1x", b"x1", b"1,key=a", b"key=a", b" key=a", b"1\t"),
    *(b"1\0", b"1\r2", b"1234567890123456", b"0000000000000001", "\u0661".encode(), b"ublish 1"),
]
WRONG_FIELDS = [
    *(b" ", b"  key=a", b" key=a ", b" key=a  id=b", b" key", b" =a", b" colour=red", b" KEY=a", b" key:a", b" keys=a"),
    *(
        b" key=a key=a",
        b" id=1 key=a id=2",
        b" delay=1 delay=1",
        b" key=a colour=red",
        b" key=a\tid=b id",
        b" id",
    ),
    *(b" key=%", b" key=%4", b" key=%4g", b" key=%%", b" key=a%", b" key=\rk", b" id=", b" id=%4", b" id=a key"),
    *(
        b" delay=",
        b" delay=x",
        b" delay=-1",
        b" delay=1e3",
        b" delay=nan",
        b" delay=1234567890",
        b" delay=0.1234567890",
    ),
    *(b" key=" + b"k" * 1025, b" key=" + b"%6b" * 1025, b" id=" + b"i" * 256, b" id=" + b"%69" * 256),
]


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def test_counted_bodies(case, expect_commands):
    expect_commands(*case)


@pytest.mark.parametrize("argument", NO_LENGTH)
def test_without_a_length_only_the_line_is_refused(argument, expect_commands):
    expect_commands(b"P" + argument + b"\nz\n", [("-", ARGS, LF), ("z", b"", LF)])
    expect_commands(b"P" + argument + b"\r\nc\n", [("-", ARGS, CRLF), ("c", LF)])


@pytest.mark.parametrize("fields", WRONG_FIELDS)
def test_behind_wrong_fields_the_body_is_skipped(fields, decode):
    for data in (b"P5%b\nc\nc\nq\nz\n" % fields, b"P5%b\nc\nc\nqmore\nz\n" % fields):
        expected = [("-", ARGS, LF), ("z", b"", LF)]
        assert decode([data]).commands == expected
        assert decode([data[at : at + 1] for at in range(len(data))]).commands == expected
    assert decode([b"P0%b\r\n\nz\n" % fields]).commands == [("-", ARGS, CRLF), ("z", b"", LF)]


def test_the_longest_key_and_id(decode):
    data = b"P1 key=" + b"%61" * 1024 + b" id=" + b"%61" * 255 + b"\nx\n"
    expected = [publish(b"x", b"a" * 1024, id=b"a" * 255)]
    assert decode([data]).commands == expected
    assert decode([data[at : at + 1] for at in range(len(data))]).commands == expected


ENDS = {
    b"P": [("-", ARGS, LF)],
    b"P\r": [("-", ARGS, CRLF)],
    b"P3": [],
    b"P3\r": [],
    b"P3\n": [],
    b"P3\r\n": [],
    b"P3\na": [],
    b"P3\na\n": [],
    b"P3\nab": [],
    b"P3\nabc": [publish(b"abc")],
    b"P3\r\nabc\r": [publish(b"abc", eol=CRLF)],
    b"P3\nab\n": [publish(b"ab\n")],
    b"P3\nab\r": [publish(b"ab\r")],
    b"P3\nabcd": [("-", ARGS, LF)],
    b"P3\nabc\rd": [("-", ARGS, LF)],
    b"P3\nabc\r\r": [("-", ARGS, LF)],
    b"P0": [publish(b"")],
    b"P0\r": [publish(b"", eol=CRLF)],
    b"P0\n": [publish(b"")],
    b"P0\n\r": [publish(b"")],
    b"P1 key=a": [],
    b"P1 key=a\n": [],
    b"P1 key=a\nx": [publish(b"x", b"a")],
    b"P1 colour=red": [],
    b"P1 colour=red\n": [],
    b"P1 colour=red\nx": [("-", ARGS, LF)],
    b"P1 colour=red\nxyz": [("-", ARGS, LF)],
    b"P17": [],
    b"P17\n0123456789abcdef": [],
    b"P17\n0123456789abcdef0": [("-", TOO_BIG, LF)],
    b"P17\n0123456789abcdef0\r": [("-", TOO_BIG, LF)],
    b"P17\n0123456789abcdef0more": [("-", TOO_BIG, LF)],
    b"P1\na\nP1\nb\nP1": [publish(b"a"), publish(b"b")],
    b"P1\na\nP1\nb\nP1\nc": [publish(b"a"), publish(b"b"), publish(b"c")],
    b"P1\na\nP2\nb": [publish(b"a")],
}


@pytest.mark.parametrize("data", ENDS)
def test_the_end_at_any_place(data, decode):
    expected = ENDS[data]
    for pieces in ([data], [b"\n", data], [data[at : at + 1] for at in range(len(data))]):
        assert decode(pieces, LIMIT).commands == expected
    for at in range(len(data)):
        assert decode([data[:at], data[at:]], LIMIT).commands == expected, at


def test_an_end_is_the_end_once():
    for data, expected in ((b"P3\na", 0), (b"P3\nabc", 1), (b"P0", 1), (b"P3\nabcd", 1)):
        decoder = Decoder(LIMIT)
        assert list(decoder.feed(data)) == []
        assert len(list(decoder.close())) == expected
        assert list(decoder.close()) == []


FITS, TOO_LONG = b"0123456789abcde\n", b"0123456789abcdef\n"
LIMITS = {
    "the longest": (b"P16\n" + FITS + b"\nz\n", [publish(FITS), ("z", b"", LF)]),
    "one too many": (b"P17\n" + TOO_LONG + b"\nz\n", [("-", TOO_BIG, LF), ("z", b"", LF)]),
    "one too many, CRLF": (b"P17\r\n" + TOO_LONG + b"\r\nz\n", [("-", TOO_BIG, CRLF), ("z", b"", LF)]),
    "far too many": (b"P170\n" + TOO_LONG * 10 + b"\n", [("-", TOO_BIG, LF)]),
    "too long and not followed by a line ending": (
        b"P17\n" + TOO_LONG + b"c\nz\n",
        [("-", TOO_BIG, LF), ("z", b"", LF)],
    ),
    "too long and behind wrong fields": (b"P17 x\n" + TOO_LONG + b"\nc\n", [("-", TOO_BIG, LF), ("c", LF)]),
    "too long and with fields": (b"P17 key=a\n" + TOO_LONG + b"\nc\n", [("-", TOO_BIG, LF), ("c", LF)]),
    "in a run": (
        b"P1\na\nP17\n" + TOO_LONG + b"\nP17\n" + TOO_LONG + b"\nP1\nb\n",
        [publish(b"a"), ("-", TOO_BIG, LF), ("-", TOO_BIG, LF), publish(b"b")],
    ),
    "a line that is too long": (b"P1 key=0123456789a\nc\n", [("-", TOO_BIG, LF), ("c", LF)]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name, expect_commands):
    expect_commands(*LIMITS[name], LIMIT)


def test_a_burst_is_one_command():
    decoder = Decoder(100)
    for _ in range(2):
        assert list(decoder.feed(b"P1\na\nP2\nbb\nP1\nc\n")) == [
            PublishCounted([b"a", b"bb", b"c"], None, 0.0, None, LF)
        ]
        assert list(decoder.feed(b"P1\r\na\r\nP2\r\nbb\n")) == [PublishCounted([b"a", b"bb"], None, 0.0, None, CRLF)]
    assert list(decoder.feed(b"P1\na\n" * 10_000)) == [PublishCounted([b"a"] * 10_000, None, 0.0, None, LF)]


def test_the_errors_say_what_is_wrong():
    failures = list(Decoder(LIMIT).feed(b"P\nP3\nfour\nP3 a=b\nabc\nP17\n" + TOO_LONG + b"\n"))
    assert all(isinstance(failure, Failure) for failure in failures)
    assert [str(failure.error) for failure in failures] == [
        "P takes len[ key=k][ delay=seconds][ id=i], as in P5 key=a",
        "the body is not followed by a line ending",
        "P takes len[ key=k][ delay=seconds][ id=i], as in P5 key=a",
        "longer than 16 bytes, the server's --max-message",
    ]


def test_a_body_is_published_with_the_byte_that_ends_it():
    decoder = Decoder(100)
    assert list(decoder.feed(b"P1\na\r")) == []
    assert list(decoder.feed(b"\nP1 key=k\n")) == [PublishCounted([b"a"], None, 0.0, None, LF)]
    assert list(decoder.feed(b"b\nc\n")) == [PublishCounted([b"b"], b"k", 0.0, None, LF), Consume(1, LF)]


TELNET = {
    "doubled 255 in a body": (b"\xff\xf1P3\r\na\xff\xffb\r\n", [publish(b"a\xffb", eol=CRLF)], b""),
    "Ctrl-C in a body": (b"\xff\xf1P3\na\xff\xf4\xff\xfd\x06bc\n", [publish(b"abc")], b"\xff\xfc\x06"),
    "bare return in a body": (b"\xff\xf1P4\na\r\0b\n", [publish(b"a\r\nb")], b""),
    "behind a body": (
        b"P1\na\n\xff\xf4\xff\xfd\x06P1\r\0b\r\0",
        [publish(b"a"), publish(b"b", eol=CRLF)],
        b"\xff\xfc\x06",
    ),
    "half a sequence at the end": (b"\xff\xf1P1\na\xff", [publish(b"a")], b""),
}


@pytest.mark.parametrize("name", TELNET)
def test_a_telnet_clients_bodies(name, decode):
    data, commands, answers = TELNET[name]
    for at in range(len(data) + 1):
        decoded = decode([data[:at], data[at:]])
        assert (decoded.commands, decoded.answers) == (commands, answers), at
    decoded = decode([data[at : at + 1] for at in range(len(data))])
    assert (decoded.commands, decoded.answers) == (commands, answers)


PIECE = bytes(64 * 1024)
SKIPPED = {
    "too big": b"P104857600\n",
    "too big, with fields": b"P104857600 key=a\n",
    "too big, wrong fields": b"P104857600 a=b\n",
    "too big, telnet": b"\xff\xf1P104857600\n",
    "not followed by a line ending": b"P0\nx",
}


@pytest.mark.parametrize("name", SKIPPED)
def test_skipping_takes_no_memory(name):
    decoder = Decoder(1 << 20)
    assert not [command for command in decoder.feed(SKIPPED[name]) if not isinstance(command, Negotiate)]
    tracemalloc.start()
    try:
        for _ in range(100 * 16):  # 100 MiB
            assert list(decoder.feed(PIECE)) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    assert [type(command) for command in decoder.feed(b"\nz\n")] == [Failure, Ping]


@pytest.mark.parametrize("piece_bytes", [512, 65_536])
def test_a_long_body_in_pieces_is_held_once(piece_bytes):
    body = bytes(range(256)) * 4096
    decoder = Decoder(len(body))
    assert list(decoder.feed(b"P%d\n" % len(body))) == []
    pieces = [body[start : start + piece_bytes] for start in range(0, len(body), piece_bytes)]
    tracemalloc.start()
    try:
        for piece in pieces:
            assert list(decoder.feed(piece)) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.25 * len(body)
    assert list(decoder.feed(b"\n")) == [PublishCounted([body], None, 0.0, None, LF)]


def test_a_body_that_is_dropped_at_the_end_leaves_nothing():
    decoder = Decoder(1 << 20)
    tracemalloc.start()
    try:
        assert list(decoder.feed(b"P1048576\n" + bytes(1_000_000))) == []
        assert list(decoder.close()) == []
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 100_000
