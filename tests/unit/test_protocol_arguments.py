"""What can stand behind each command's letter: one table of lines, and the commands that they are."""

from __future__ import annotations

import re
import time

import pytest

from gstream.protocol import COMMANDS, PARTITION_SHIFT, Acknowledge, Decoder, Failure, Seek

LF, CRLF = b"\n", b"\r\n"
UNKNOWN, ARGS, NAME = "unknown", "args", "name"
LAST_OFFSET = (1 << PARTITION_SHIFT) - 1
LONGEST = "n" * 249


def at(partition, offset):
    return partition << PARTITION_SHIFT | offset


UNDERSTOOD = {
    "t": ("t", "default"),
    "tnews": ("t", "news"),
    "tA.b_c-9": ("t", "A.b_c-9"),
    "t...": ("t", "..."),
    "t" + LONGEST: ("t", LONGEST),
    "tnews.dlq": ("t", "news.dlq"),
    "t" + LONGEST + ".dlq": ("t", LONGEST + ".dlq"),
    "g": ("g", "default"),
    "gaudit": ("g", "audit"),
    "g" + LONGEST: ("g", LONGEST),
    "xaudit": ("x", "audit"),
    "mlog": ("m", "log", None, None, None),
    "m" + LONGEST + ".dlq partitions=1": ("m", LONGEST + ".dlq", 1, None, None),
    "mlog partitions=1024": ("m", "log", 1024, None, None),
    "mlog partitions=008": ("m", "log", 8, None, None),
    "mlog retain-bytes=0": ("m", "log", None, 0, None),
    "mlog retain-bytes=65536B": ("m", "log", None, 65536, None),
    "mlog retain-bytes=64KiB": ("m", "log", None, 64 << 10, None),
    "mlog retain-bytes=64mib": ("m", "log", None, 64 << 20, None),
    "mlog retain-bytes=1048576GiB": ("m", "log", None, 1 << 50, None),
    "mlog retain-bytes=3kB": ("m", "log", None, 3000, None),
    "mlog retain-bytes=default": ("m", "log", None, "default", None),
    "mlog retain-seconds=0": ("m", "log", None, None, 0.0),
    "mlog retain-seconds=.5": ("m", "log", None, None, 0.5),
    "mlog retain-seconds=default": ("m", "log", None, None, "default"),
    "mlog retain-seconds=60 partitions=3 retain-bytes=1MB": ("m", "log", 3, 10**6, 60.0),
    "ylog": ("y", "log"),
    "y" + LONGEST + ".dlq": ("y", LONGEST + ".dlq"),
    "i": ("i", None),
    "inews": ("i", "news"),
    "i" + LONGEST + ".dlq": ("i", LONGEST + ".dlq"),
    "l": ("l",),
    "r": ("r", None, 1, False),
    "r0": ("r", 0.0, 1, False),
    "r5": ("r", 5.0, 1, False),
    "r0.25 100": ("r", 0.25, 100, True),
    "a17": ("a", [17]),
    "a0 1 2": ("a", [0, 1, 2]),
    "a2 1 2": ("a", [2, 1, 2]),
    "a007": ("a", [7]),
    "a281474976710655": ("a", [LAST_OFFSET]),
    "a1:17": ("a", [at(1, 17)]),
    "a0:17 17": ("a", [17, 17]),
    "o17": ("o", [17]),
    "o0:17 1:17 3": ("o", [17, at(1, 17), 3]),
    "a17 32767:281474976710655 3": ("a", [17, at(32767, LAST_OFFSET), 3]),
    "n17": ("n", 17, 0.0),
    "n1:17": ("n", at(1, 17), 0.0),
    "n17 0.5": ("n", 17, 0.5),
    "n17 0": ("n", 17, 0.0),
    "e17": ("e", 17, None),
    "e1:17 60": ("e", at(1, 17), 60.0),
    "e17 0": ("e", 17, 0.0),
    "d17": ("d", 17, b""),
    "d17 ": ("d", 17, b""),
    "d1:17 not a  number": ("d", at(1, 17), b"not a  number"),
    "d17 é": ("d", 17, "é".encode()),
    "s": ("s", None),
    "s0": ("s", 0),
    "s100": ("s", 100),
    "s999999999": ("s", 999_999_999),
    "f7": ("f", "id", 7),
    "f1:7": ("f", "id", at(1, 7)),
    "f-7": ("f", "before-end", 7),
    "f-0": ("f", "before-end", 0),
    "f-999999999999999": ("f", "before-end", 999_999_999_999_999),
    "f^": ("f", "oldest", 0),
    "f$": ("f", "end", 0),
    "f@0": ("f", "time", 0.0),
    "f@1764020000.5": ("f", "time", 1764020000.5),
    "f@999999999999": ("f", "time", 999_999_999_999.0),
    "f@-60": ("f", "ago", 60.0),
    "f@-0.5": ("f", "ago", 0.5),
    "f@2026-11-24T21:30:00Z": ("f", "time", 1795555800.0),
    "f@2026-11-24T21:30": ("f", "time", 1795555800.0),
    "f@2026-11-24 21:30:00.25": ("f", "time", 1795555800.25),
    "f@2026-11-24T22:30:00+01:00": ("f", "time", 1795555800.0),
    "f@2100-01-01": ("f", "time", 4102444800.0),
    "f@0001-01-01T00:00+23:59": ("f", "time", -62135683140.0),
    "f@9999-12-31T23:59:59-23:59": ("f", "time", 253402387139.0),
    "v": ("v", 1),
    "v5": ("v", 5),
    "v999999999": ("v", 999_999_999),
    "b": ("b", 1),
    "b0": ("b", 0),
    "b1": ("b", 1),
    "b2": ("b", 2),
}
"""Line: the command without its line ending."""

REFUSED = {
    NAME: [
        *("t.", "t..", "tno spaces", "t ", "t/", "té", "ta\rb", "ta\0", "t" + LONGEST + "n", "t" + LONGEST + "n.dlq"),
        *("t" + LONGEST + ".dlq2", "t" + LONGEST + ".DLQ", "t" + LONGEST + ".dlq.dlq"),
        *("g.", "g..", "gno spaces", "g" + LONGEST + "n", "g" + LONGEST + ".dlq"),
        *("x", "x.", "x..", "xa b", "x" + LONGEST + "n", "x" + LONGEST + ".dlq"),
        *("m", "m.", "m..", "m partitions=1", "ma/b", "m" + LONGEST + "n", "m" + LONGEST + "n partitions=1"),
        *("y", "y.", "y..", "ya b", "y" + LONGEST + "n", "y" + LONGEST + "n.dlq"),
        *("i.", "i..", "ia b", "i" + LONGEST + "n"),
    ],
    UNKNOWN: ["l1", "list", "l ", "host: example", "h1", "q1", "c1"],
    ARGS: [
        *("w5 x", "w 5", "w5 0", "rx", "r 5", "r5 0", "r-1", "r1e3", "r5 5 5"),
        *("a", "a ", "ax", "a1 ", "a 1", "a1  2", "a1,2", "a1\t2", "a-1", "a+1", "a1_0", "a1.0", "a1\r2", "a\u0665"),
        *("a281474976710656", "a1 999999999999999", "a0000000000000001", "a1 1234567890123456"),
        *("a:1", "a1:", "a1:2:3", "a1 :", "a1:2 ", "a1:2  3", "a-1:2", "a1:-2", "a32768:1", "a100000:1", "a000001:1"),
        *("a1:281474976710656", "a1:0000000000000001", "a1:2 x"),
        *("n", "nx", "n17 ", "n17 x", "n17 -1", "n17  1", "n17 1 1", "n 1", "n1 1234567890", "n281474976710656"),
        *("e", "ex", "e17 ", "e17 x", "e17 -1", "e17 1e3", "e17 inf", "e1:", "e17 1 1"),
        *("d", "d ", "dx", "d why", "d17why", "d-1"),
        *("sx", "s-1", "s ", "s1.5", "s1 1", "s1234567890", "s+1"),
        *(
            "f",
            "f ",
            "fx",
            "fsomewhere",
            "f^^",
            "f$1",
            "f^ ",
            "f-",
            "f--1",
            "f-1.5",
            "f-1234567890123456",
            "f- 1",
            "f1 2",
        ),
        *("f@", "f@x", "f@-", "f@--1", "f@-1e3", "f@1e3", "f@.5", "f@1234567890123", "f@nan", "f@inf", "f@-inf"),
        *(
            "f@2026-13-01",
            "f@2026-02-30",
            "f@2026-11-24T25:00",
            "f@2026-11-24T21:30:00X",
            "f@2026-11-24 ",
            "f@24.11.2026",
        ),
        *("f@2026-11-24T21:30:00+25:00", "f@\u0662\u0660\u0662\u0666-11-24", "f@10000-01-01", "f@0000-01-01", "f1:2:3"),
        *(
            "mlog ",
            "mlog  partitions=1",
            "mlog partitions=1 ",
            "mlog partitions",
            "mlog partitions=",
            "mlog partitions= 1",
        ),
        *(
            "mlog partitions=0",
            "mlog partitions=1025",
            "mlog partitions=-1",
            "mlog partitions=1.5",
            "mlog partitions=x",
        ),
        *("mlog partitions=1 partitions=1", "mlog partitions=default", "mlog Partitions=1", "mlog colour=red"),
        *("mlog retain-bytes=-1", "mlog retain-bytes=1.5", "mlog retain-bytes=1TB", "mlog retain-bytes=1 KiB"),
        *("mlog retain-bytes=1125899906842625", "mlog retain-bytes=12345678901234567", "mlog retain-bytes=MiB"),
        *("mlog retain-seconds=-1", "mlog retain-seconds=1e3", "mlog retain-seconds=nan", "mlog retain-seconds=1m"),
        *("mlog retain-seconds=1234567890", "mlog retain-seconds=Default", "mlog partitions=1 nonsense"),
        *("vx", "v0", "v00", "v-1", "v 1", "v1234567890", "v1.5"),
        *("b3", "b00", "b ", "b-1", "bx", "b\r1"),
    ],
}
"""Code: the lines that are answered with it."""


@pytest.mark.parametrize("line", UNDERSTOOD)
def test_what_is_understood(line, expect_commands):
    for eol in (LF, CRLF):
        expect_commands(line.encode() + eol, [(*UNDERSTOOD[line], eol)])
    expect_commands(line.encode(), [(*UNDERSTOOD[line], LF)])


@pytest.mark.parametrize(("code", "line"), [(code, line) for code, lines in REFUSED.items() for line in lines])
def test_what_is_refused(code, line, expect_commands):
    for eol in (LF, CRLF):
        expect_commands(line.encode() + eol, [("-", code, eol)])


def error_of(line):
    (failure,) = Decoder(1 << 20).feed(b"\n" + line + b"\n")
    assert isinstance(failure, Failure)
    return str(failure.error)


TAKES = {
    "w": "w takes [seconds[ n]], as in w5 or w0.5 100",
    "r": "r takes [seconds[ n]], as in r5 or r0.5 100",
    "a": "a takes id[ id...], as in a7 or a7 8",
    "o": "o takes id[ id...], as in o7 or o7 8",
    "n": "n takes id[ seconds], as in n7 or n7 0.5",
    "e": "e takes id[ seconds], as in e7 or e7 60",
    "d": "d takes id[ why], as in d7 or d7 no such user",
    "s": "s takes [credit], as in s, s100 or s0",
    "f": "f takes an id, -n, @time, ^ or $, as in f0, f-10, f@-60",
    "v": "v takes [n], as in v or v5",
    "b": "b takes [0|1|2], as in b or b0",
    "m": "m takes topic[ partitions=n][ retain-bytes=size][ retain-seconds=seconds], as in mlog partitions=4",
    "P": "P takes len[ key=k][ delay=seconds][ id=i], as in P5 key=a",
}


@pytest.mark.parametrize("letter", TAKES)
def test_the_error_says_what_the_command_takes(letter):
    argument = b"log \xff" if letter == "m" else b"\xff"  # another name than that is refused for itself
    assert error_of(letter.encode() + argument) == TAKES[letter]


@pytest.mark.parametrize("letter", TAKES)
def test_the_examples_are_understood(letter):
    _, _, examples = TAKES[letter].partition("as in ")
    for example in re.split(", | or ", examples):
        decoder = Decoder(100)
        body = b"12345\n" if letter == "P" else b""
        (command,) = decoder.feed(b"\n" + example.encode() + b"\n" + body)
        assert not isinstance(command, Failure), example


def test_every_command_that_can_refuse_an_argument_says_what_it_takes():
    whole_lines, named, anything = "cqlh", "tgxiy", "pz"
    assert sorted(TAKES) == sorted({*map(chr, COMMANDS)} - {*whole_lines, *named, *anything})
    assert [chr(letter) for letter, row in COMMANDS.items() if row.takes] == [*"Pwranoedsfvmb"]


def test_a_name_that_cannot_be_is_told_what_can():
    for letter in (b"t", b"g", b"x", b"i", b"m", b"y"):
        assert error_of(letter + b"no:colons") == "a name is 1 to 249 letters, digits, '.', '_' or '-'"


def test_a_time_without_a_zone_is_utc_wherever_the_server_is(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XYZ5")
        time.tzset()
        assert list(Decoder(100).feed(b"f@2026-11-24T21:30:00\n")) == [Seek("time", 1795555800.0, LF)]
    time.tzset()


def test_a_thousand_ids_are_one_command():
    ids = [*range(123_456, 124_456)]
    (command,) = Decoder(1 << 20).feed(b"a" + b" ".join(b"%d" % id for id in ids) + b"\n")
    assert command == Acknowledge(ids, LF)


def test_a_number_of_a_million_digits_is_refused_and_not_converted():
    digits = b"1" * 1_000_000
    for line in (
        b"a" + digits,
        b"a1 " + digits,
        b"a1:" + digits,
        b"n" + digits,
        b"f" + digits,
        b"f-" + digits,
        b"P" + digits,
    ):
        assert "takes" in error_of(line)
