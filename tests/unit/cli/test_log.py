"""``gstream log``: what lies in a data directory, and whether it is as it should be; nothing in it is touched."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import sys
import time
from contextlib import closing
from itertools import accumulate

import click
import pytest
from crc32c import crc32c

from gstream.batch import Batch, pack
from gstream.cli import cli
from gstream.cli.log import goes_to_a_file, log
from gstream.compression import CODECS, compress
from gstream.counted import CountedBatch, pack_counted
from gstream.storage.directory import Directory
from gstream.storage.frame import decode_frame, encode_frame
from gstream.storage.log import LogSettings
from gstream.storage.recordbatch import RecordBatch

TIME_MS = 1764020000000
TIME = "2025-11-24T21:33:20.000+00:00"
FRAME_BYTES = 61 + 4 * len(b"pmessage0\n")
SETTINGS = LogSettings(segment_bytes=2 * FRAME_BYTES)


def kafka_frame(attributes, data, ms=TIME_MS):
    checked = struct.pack(">hiqqqhii", attributes, 0, ms, ms, -1, -1, -1, 1) + data
    return decode_frame(struct.pack(">qiibI", 0, 9 + len(checked), 0, 2, crc32c(checked)) + checked)


@pytest.fixture(autouse=True)
def _zone(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def data(tmp_path):
    """A closed directory: 12 messages by 4 in ``news``, two a segment; in ``orders`` what is not a plain line."""
    path = tmp_path / "data"
    directory = Directory(str(path), print, SETTINGS)
    news = directory.open_log("news")
    for first in range(0, 12, 4):
        bodies = [b"message%d" % (number % 10) for number in range(first, first + 4)]
        news.append([Batch(0, 4, pack(*bodies), TIME_MS)])
    news.close()
    orders = directory.open_log("orders", 1)
    counted = pack_counted(b"\xff", b"key", [("h", b"v"), ("h", b"\x80")]) + pack_counted(b"a\nb\\\x1b[2J\xc3\xa4")
    orders.append([CountedBatch(0, 2, counted, TIME_MS)])
    record = b"\0\0\0\x02k\x01\x02\x02h\x01"  # the key k, no body, a header h without a value
    record = bytes([2 * len(record)]) + record
    frames = [*(kafka_frame(codec, compress(codec, record)) for codec in CODECS), kafka_frame(7, record)]
    orders.append([RecordBatch(frame.stored, frame.header) for frame in frames])
    orders.close()
    directory.close()
    return path


@pytest.fixture
def news(data):
    return data / "topics" / "news" / "0"


def segment(path, base=0):
    return path / f"{base:020d}.log"


def change(path, position, new):
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(new)


def objects(output):
    return [json.loads(line) for line in output.splitlines()]


def words(output):
    return [" ".join(line.split()) for line in output.splitlines()]


def tree(path):
    """All there is to know of a directory and what is in it, but for when it was read."""
    found = {}
    for each in [path, *sorted(path.rglob("*"))]:
        status = each.stat()
        content = hashlib.sha256(each.read_bytes()).hexdigest() if each.is_file() else os.listdir(each)
        found[each] = (content, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode)
    return found


# --- dump


def test_batches_are_lines_under_the_name_of_their_file(run, data, news):
    output, code = run("log", "dump", str(data), "-t", "news")
    assert code == 0
    heading = "OFFSET MESSAGES TIME TIME_MS KIND POSITION BYTES CRC"
    size = FRAME_BYTES
    assert words(output) == [
        str(segment(news)),
        heading,
        f"0 4 {TIME} {TIME_MS} lines 0 {size} ok",
        f"4 4 {TIME} {TIME_MS} lines {size} {size} ok",
        "",
        str(segment(news, 8)),
        heading,
        f"8 4 {TIME} {TIME_MS} lines 0 {size} ok",
    ]
    assert len({line.rindex(" ") for line in output.splitlines() if line.endswith((" ok", " CRC"))}) == 1, "aligned"


def test_messages_harm_no_terminal(run, data):
    output, _ = run("log", "dump", str(data), "-t", "orders", "--messages")
    lines = words(output)
    assert [line.split()[4] for line in lines if line.endswith(" ok")] == ["counted", *["records"] * 6]
    path, heading, *rest = lines
    assert [line for line in rest if not line.endswith(" ok")] == [
        r"0 key=key h: v h: \x80 \xff",
        r"1 a\nb\\\x1b[2Jä",
        "",
        path.replace(f"{0:020d}", f"{2:020d}"),
        heading,
        *(f"{offset} key=k h: (no body)" for offset in range(2, 7)),
        "messages not shown: they cannot be unpacked: no codec has the number 7",
    ]


def test_batches_as_objects(run, data, news):
    first, *_, last = objects(run("log", "dump", str(data), "--json")[0])
    assert first == {
        "type": "batch",
        "file": str(segment(news)),
        "topic": "news",
        "partition": 0,
        "base_offset": 0,
        "next_offset": 4,
        "count": 4,
        "time": TIME,
        "time_ms": TIME_MS,
        "max_time_ms": TIME_MS,
        "kind": "lines",
        "position": 0,
        "size": FRAME_BYTES,
        "crc_ok": True,
    }
    assert (last["topic"], last["partition"], last["kind"], last["base_offset"]) == ("orders", 1, "records", 7)


def test_messages_as_objects(run, data):
    found = objects(run("log", "dump", str(data), "-t", "orders", "--messages", "--json")[0])
    place = {"topic": "orders", "partition": 1}
    message = {"type": "message", **place}
    when = {"time": TIME, "time_ms": TIME_MS}
    assert [each for each in found if each["type"] != "batch"] == [
        {
            **message,
            **when,
            "offset": 0,
            "key": "key",
            "headers": [["h", "v"], ["h", {"base64": "gA=="}]],
            "body_base64": "/w==",
        },
        {**message, **when, "offset": 1, "body": "a\nb\\\x1b[2Jä"},
        *(
            {**message, **when, "offset": offset, "key": "k", "headers": [["h", None]], "body": None}
            for offset in range(2, 7)
        ),
        {
            "type": "not shown",
            **place,
            "base_offset": 7,
            "next_offset": 8,
            "text": "they cannot be unpacked: no codec has the number 7",
        },
    ]


def test_a_part_of_it(run, data, news):
    def offsets(*arguments):
        found = objects(run("log", "dump", str(data), "-t", "news", "--json", *arguments)[0])
        return [each.get("base_offset", each.get("offset")) for each in found]

    assert offsets("--from", "5") == [4, 8]
    assert offsets("-n", "2") == [0, 4]
    assert offsets("--from", "5", "-n", "1") == [4]
    assert offsets("--from", "6", "-n", "3", "--messages") == [4, 6, 7, 8, 8]
    assert run("log", "dump", str(news), "--from", "12") == ("", 1)


@pytest.mark.parametrize("where", ["topics/news", "topics/news/0", f"topics/news/0/{0:020d}.log"])
def test_what_can_be_dumped(run, data, where):
    found = objects(run("log", "dump", str(data / where), "--json")[0])
    assert {(each["topic"], each["partition"]) for each in found} == {("news", 0)}
    assert len(found) == (2 if where.endswith(".log") else 3)


def test_a_file_elsewhere_has_no_topic(run, news, tmp_path):
    segment(tmp_path).write_bytes(segment(news).read_bytes())
    assert "topic" not in objects(run("log", "dump", str(segment(tmp_path)), "--json")[0])[0]


def test_damage_is_in_its_place(run, data, news):
    change(segment(news), FRAME_BYTES - 2, b"X")
    output, code = run("log", "dump", str(news), "--messages")
    assert code == 0
    assert words(output)[2] == f"0 4 - - damaged 0 {FRAME_BYTES} the checksum is wrong"
    finding, batch, *_ = objects(run("log", "dump", str(news), "--json")[0])
    assert finding == {
        "type": "finding",
        "kind": "damaged",
        "file": str(segment(news)),
        "topic": "news",
        "partition": 0,
        "position": 0,
        "size": FRAME_BYTES,
        "offset": 0,
        "next_offset": 4,
        "text": "the checksum is wrong",
    }
    assert batch["base_offset"] == 4


def test_a_tail_that_is_torn_has_no_known_number_of_messages(run, news):
    os.truncate(segment(news, 8), FRAME_BYTES - 1)
    row = words(run("log", "dump", str(news))[0])[-1]
    assert row == f"8 - - - torn 0 {FRAME_BYTES - 1} cut off: {FRAME_BYTES - 1} of {FRAME_BYTES} bytes"


def test_messages_that_were_wrong_when_they_were_written_are_not_shown(run, news):
    with open(segment(news, 8), "ab") as file:
        file.write(b"".join(encode_frame(Batch(12, 2, b"pa\n", TIME_MS))))
    assert run("log", "dump", str(news), "--messages")[0].endswith(
        "  messages not shown: its messages do not fill it\n"
    )


@pytest.mark.parametrize("ms", [-(1 << 63), (1 << 63) - 1], ids=["before", "after"])
def test_a_time_that_no_calendar_has(run, tmp_path, ms):
    frame = kafka_frame(0, b"", ms)
    segment(tmp_path).write_bytes(frame.stored)
    assert words(run("log", "dump", str(segment(tmp_path)))[0])[2].startswith(f"0 1 - {ms} records ")
    (found,) = objects(run("log", "dump", str(segment(tmp_path)), "--json")[0])
    assert (found["time"], found["time_ms"]) == (None, ms)


def test_a_name_that_is_no_utf8(run, data, tmp_path):
    strange = os.fsencode(tmp_path) + b"/\xff\n"
    os.rename(data, strange)
    path = os.fsdecode(strange)
    assert r"/\xff\n/topics/news/0/" in run("log", "dump", path)[0].splitlines()[0]
    assert r"/\xff" in objects(run("log", "dump", path, "--json")[0])[0]["file"]


# --- verify


def test_a_sound_directory(run, data):
    there = [*data.rglob("*.log"), *data.rglob("*.index")]
    size = sum(path.stat().st_size for path in there)
    assert run("log", "verify", str(data)) == (f"sound: 8 files, 10 batches, 20 messages, {size:,} bytes\n", 0)
    (found,) = objects(run("log", "verify", str(data), "--json")[0])
    assert found == {
        "type": "totals",
        "sound": True,
        "damaged": 0,
        "files": 8,
        "batches": 10,
        "messages": 20,
        "bytes": size,
    }


def test_one_of_each(run, tmp_path):
    segment(tmp_path).write_bytes(b"".join(encode_frame(Batch(0, 1, pack(b"a"), TIME_MS))))
    assert run("log", "verify", str(segment(tmp_path))) == ("sound: 1 file, 1 batch, 1 message, 64 bytes\n", 0)


def test_damage_is_told_and_is_exit_code_1(run, data, news):
    change(segment(news), FRAME_BYTES - 2, b"X")
    output, code = run("log", "verify", str(data))
    assert code == 1
    finding, totals = output.splitlines()
    what = f"damaged at 0, {FRAME_BYTES} bytes, messages 0 to 3: the checksum is wrong"
    assert finding == f"{segment(news)}: {what}"
    assert totals.startswith("damaged in 1 place: 8 files, 9 batches, 16 messages, ")
    assert run("log", "verify", str(data), "-t", "orders")[1] == 0
    output, code = run("log", "verify", str(data), "--json")
    assert code == 1
    finding, totals = objects(output)
    assert (finding["kind"], finding["offset"], finding["next_offset"]) == ("damaged", 0, 4)
    assert (totals["sound"], totals["damaged"]) == (False, 1)


def test_what_is_no_damage_is_told(run, data, news):
    os.truncate(segment(news, 8), FRAME_BYTES - 1)
    (news / f"{8:020d}.index").unlink()
    (news / f"{0:020d}.index").unlink()
    (data / "notes").touch()
    output, code = run("log", "verify", str(data))
    assert code == 0
    strange, index, torn, totals = output.splitlines()
    assert strange == f"{data / 'notes'}: strange: not one of gstream's files"
    assert index.endswith("index: it is missing (no message is lost; is made again when it is needed)")
    assert " (normal beside a running server and after a crash; " in torn
    assert totals.startswith("sound: ")


@pytest.mark.parametrize("state", ["sound", "damaged", "torn", "no index"])
@pytest.mark.parametrize(
    "arguments",
    [["dump"], ["dump", "--messages"], ["dump", "--json", "--messages"], ["dump", "--from", "6"], ["verify"]],
    ids=" ".join,
)
def test_nothing_is_touched_beside_whoever_has_the_directory(run, data, news, state, arguments):
    with closing(Directory(str(data), print, SETTINGS)) as directory, closing(directory.open_log("open")) as opened:
        opened.append([Batch(0, 1, pack(b"a"), TIME_MS)])
        if state == "damaged":
            change(segment(news), FRAME_BYTES - 2, b"X")
        elif state == "torn":
            os.truncate(segment(news, 8), FRAME_BYTES - 1)
        elif state == "no index":
            (news / f"{0:020d}.index").unlink()
        before = tree(data)
        output, code = run("log", arguments[0], str(data), *arguments[1:])
        assert tree(data) == before
    assert code == (state == "damaged" and arguments == ["verify"])
    assert output


# --- what is refused, and help


@pytest.mark.parametrize("command", ["dump", "verify"])
def test_what_cannot_be_read_is_said_in_one_line(run, data, news, tmp_path, command):
    def error(*arguments):
        output, code = run("log", command, *arguments)
        assert (code, output[:9], output.count("\n")) == (2, "gstream: ", 1)
        return output[9:-1]

    assert error(str(tmp_path / "none")) == f"{tmp_path / 'none'}: No such file or directory"
    assert "holds no messages; expected a data directory (with the file version), or " in error(str(tmp_path))
    assert "neither a directory nor a segment, whose name is 20 digits and .log" in error(str(data / "version"))
    assert "no such topic: old (there are: news, orders)" in error(str(data), "-t", "old")
    assert "only a data directory has them" in error(str(news), "-t", "news")
    (data / "version").write_text("gstream 2\n")
    assert error(str(data)) == f"{data}: has version 2, this gstream reads 1"


@pytest.mark.parametrize(
    "arguments",
    [
        ["dump"],
        ["verify"],
        ["fix"],
        ["verify", "a", "b"],
        *(["dump", ".", *more] for more in (["-n", "0"], ["--from", "-1"], ["-t", "a b"])),
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_none(run, arguments):
    output, code = run("log", *arguments)
    assert code == 2
    assert "Error: " in output.splitlines()[-1]


@pytest.mark.parametrize("name", log.commands)
def test_help_has_examples(run, name):
    output, code = run("log", name, "--help")
    assert code == 0
    assert f"\n    gstream log {name} " in output.partition("Examples:\n")[2]
    assert max(map(len, output.splitlines())) <= 100


def test_topics_are_completed_from_the_directory(data):
    def complete(target, incomplete):
        (option,) = (each for each in log.commands["dump"].params if each.name == "topic")
        context = click.Context(log.commands["dump"], parent=click.Context(cli))
        context.params["target"] = target
        return [each.value for each in option.shell_complete(context, incomplete)]

    assert complete(str(data), "") == ["news", "orders"]
    assert complete(str(data), "o") == ["orders"]
    assert complete(str(data / "none"), "") == []
    assert complete(None, "") == []


# --- the bar


class Bar:
    """What the commands use of a Progress: keeps what it is told."""

    bars: list[Bar]

    def __init__(self, total, *, wanted=True):
        self.total = total
        self.wanted = wanted
        self.told = []
        self.hidden = 0
        self.bars.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def reach(self, done, text):
        self.told.append((done, text))

    def hide(self):
        self.hidden += 1


@pytest.mark.parametrize("command", ["dump", "verify"])
def test_a_bar_follows_what_is_read(run, data, news, monkeypatch, command):
    bars = []
    monkeypatch.setattr(Bar, "bars", bars, raising=False)
    monkeypatch.setattr(sys.modules["gstream.cli.log"], "Progress", Bar)  # as an attribute, log is the command
    (news / f"{0:020d}.index").unlink()
    run("log", command, str(data))
    (bar,) = bars
    sizes = [path.stat().st_size for path in sorted(data.rglob("*.log"))]
    assert (bar.total, [done for done, _ in bar.told]) == (sum(sizes), list(accumulate(sizes)))
    assert bar.told[-1][1] == "0 of 0 MiB"
    # A table and a bar on one terminal, or before a pager, would be in each other's way.
    assert (bar.wanted, bar.hidden) == ((False, 0) if command == "dump" else (True, 1))


def test_a_dump_into_a_file_has_a_bar(monkeypatch, tmp_path):
    with open(tmp_path / "output", "w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert goes_to_a_file()
    assert not goes_to_a_file()  # closed
    for other in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stdout", other)
        assert not goes_to_a_file()
