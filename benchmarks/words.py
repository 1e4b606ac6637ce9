"""What the page says: sentences only, each true of any run in which its subject took part.

No figure stands here but those that the scenarios' own constants and the run's sizes are put into: {in braces}.
"""

from __future__ import annotations


def _flow(text: str) -> str:
    """One line a paragraph: where lines break is the page's own business."""
    return " ".join(text.split())


INTRODUCTION = _flow("""
    Messages of {message_bytes:g} bytes published and consumed over TCP with {servers}: throughput, latency, leases,
    memory, and the time to start. This page is written by the benchmark; every figure on it is computed from [what was
    measured](benchmarks.json).
    """)

QUICK = "**This was a quick run. It shows that the benchmark works; its figures are too short to be measurements.**"

SERVERS = {
    "gstream": _flow("""
        **gstream**: this project's server, with its memory engine, the default: nothing is written to disk, except
        where a table says so.
        """),
    "redis": _flow("""
        **Redis**: a list; `LPUSH` publishes, `RPOP` consumes, one message a command, as with gstream. Nothing is
        written to disk, except where a table says so. Redis also has commands that carry many messages (`LPUSH` with
        several values, `RPOP` with a count); they are not measured here.
        """),
    "beanstalkd": _flow("""
        **beanstalkd**: `put` publishes; `reserve` and then `delete` consume, two commands a message, because that is
        how it gives a message away for good. Nothing is written to disk, except where a table says so.
        """),
    "floor": _flow("""
        **floor**: no message server but a small C program on epoll. It finds every line, answers it with the bytes
        that gstream would answer, and stores nothing. It shows what the kernel, the loopback device and the load
        generator leave to any server of this protocol; pipelined, the load generator itself may be what limits it.
        """),
}

METHOD = [
    _flow("""
        **The same client for all.** One load generator in C (`benchmarks/load.c`: one thread, epoll) sends the same
        messages to every server over equally many connections in windows of the same size. Only the protocol
        differs.
        """),
    _flow("""
        **Every reply is verified**, to the byte: every `ok` or its like, and the bytes of every consumed message.
        One wrong, missing or surplus reply, and the measurement has failed; failures are listed at the end of this
        page.
        """),
    _flow("""
        **What was published is consumed**, to the last message, wherever throughput and memory are measured. A
        message counts when its reply has been read; a leased one, when its acknowledgement has been answered. Where
        replies carry ids, no id comes twice, none is left out, and on each connection they rise.
        """),
    _flow("""
        **A rate**: messages are published for {seconds:g} s or until {most_queued:,.0f} are queued, then all of them
        are consumed; and again, until {half:g} s have been spent on publishing.
        """),
    _flow("""
        **A fresh process for every measurement**, on 127.0.0.1, with an empty queue; before rates are measured it is
        warmed up. Client and server share the machine's cores; nothing is pinned.
        """),
    _flow("""
        **Rounds are interleaved.** In each round every measurement is made of one server right after the other, in
        an order that rotates: what slows the machine down for a while slows all of them down.
        """),
]

ONE_ROUND = "**There was one round.** A figure is what it measured, and says nothing about the spread."
ROUNDS = _flow("""
    **Medians of {rounds} rounds**, and in small print the least and the most. A ratio is computed in each round,
    between figures of that round; what is shown is the median of these ratios, and their least and most.
    """)

PEERS = "A C compiler is needed. Redis and beanstalkd take part where `redis-server` and `beanstalkd` are installed."
COMMANDS = """\
pip install -e '.[benchmark]'
python benchmarks/run.py --quick --rounds 1   # does it all work? under two minutes
python benchmarks/run.py --output docs        # all of it, and this page
python benchmarks/run.py --only disk          # what is about the disk, in the directory where you are
python benchmarks/run.py --help"""

RATIO = "`× {peer}`: gstream's figure divided by {peer}'s."

NOTES = {
    "one-at-a-time": _flow("""
        A connection sends one command, waits for its reply, and sends the next. Each message costs both sides a
        system call to read and one to write, whatever the server is made of.
        """),
    "pipelined": _flow("""
        A connection sends so many commands in one write, reads all their replies, and sends the next so many. They
        are the same commands, one a message.
        """),
    "latency": _flow("""
        The round trip of one command, while so many connections do the same. The load generator never rests, so with
        many connections this is mostly waiting in line: their number divided by the rate above.
        """),
    "deliveries": _flow("""
        What a client may rather do than send a `c` for each message. `w0 1000` takes up to 1,000 messages, each with
        its id, and ends; `s` asks once and is sent every message. The backlog is published beforehand. While it is
        published: as many connections more publish 1,000 at a time at the same moment, so the generator and the
        server do both kinds of work at once. `P` publishes counted bytes, and each is answered with its id; `p` on
        the same server stands beside it.
        """),
    "leases": _flow("""
        The messages are published beforehand. In batches: `r0 100`, and then one `a` with the 100 ids. One at a time:
        `r0` and `a` as two round trips, or, as a worker does that has more to do, `a` and the next `r0` in one write.
        beanstalkd has `reserve` and `delete`, in windows of 100, or as two round trips. Redis stands beside it with
        what it has: `RPOP`, which takes a message for good. A peer's one figure for one at a time stands in both rows.
        """),
    "wake": _flow("""
        One connection waits for a message (`w`, `BRPOP`, `reserve`), another publishes one: the time from just before
        it is written until the first has read all of it, in one process, {wakes:,.0f} times. Turn by turn with it an
        echo on the publisher's connection (`z`, `PING`, `list-tube-used`). Before each publish, two such echoes are
        answered, so that the consumer's request has been executed and it really waits.
        """),
    "groups": _flow("""
        By how much the server's resident memory grew, divided by the messages: {burst_messages:,.0f}, in bursts of
        1,000, which each of the groups has still to take, and does take in the end.
        """),
    "open-leases": _flow("""
        On 8 connections {open_leases:,.0f} messages are leased 1,000 at a time, or {single_messages:,.0f} one at a
        time, and not acknowledged. With the message: by how much
        the resident memory of a server that had served 1,000 messages and was empty has grown, divided by the leases.
        By leasing: by how much it has grown since all messages were queued.
        """),
    "returns": _flow("""
        As many messages are leased, and none is acknowledged. Their time is over: after {lease_seconds:g} s
        (`--lease`), counted from the moment that the last one had come. The connections are closed: counted from the
        close. Back they are when `i` says that none is leased and all are to be taken again; it is asked every 10 ms.
        Beside it another connection publishes one message at a time to another topic, from just before the first
        lease ends, and these are its round trips; a single long stop shows only in the slowest. Then all are taken,
        each as a second delivery.
        """),
    "memory": _flow("""
        By how much the server's resident memory grew, divided by the messages: {burst_messages:,.0f} in bursts of
        1,000 on 8 connections, {single_messages:,.0f} one at a time on 64. The body of {message_bytes:g} bytes is
        included. {filler_messages:,.0f} messages were queued before the first look, so that neither memory touched
        for the first time nor what the start had left free is counted.
        """),
    "idle": _flow("""
        By how much the server's resident memory grew, divided by the connections, after each had been answered once;
        the kernel's own memory is not in it. Then {probes} times one more client connects: the time from its connect
        to its first answer.
        """),
    "fairness": _flow("""
        One connection never waits: it publishes and consumes as fast as its commands are read. Beside it another
        connection publishes one message at a time, and these are its round trips. Two clients and a server share the
        cores.
        """),
    "start": "From the start of the process to the first answer on a connection.",
    "disk": _flow("""
        With files on the file system named above; each server begins with an empty directory, when nothing is left to
        be written of the one before. Always synced: a message is answered when it would survive a loss of power.
        Every second: when the system has it, which syncs it within about a second. gstream: `--data-dir`, `--sync
        always` or `--sync 1`. Redis: `appendonly yes` (its log, which is not rewritten meanwhile), `appendfsync always`
        or `everysec`. beanstalkd: `-b`, `-f0` or `-f1000`. Messages are published for {disk_seconds:g} s, and then all
        of them are consumed. Both at once: on 8 connections they are published 100 at a time, and on 8 others leased
        100 at a time as they come, and acknowledged; of beanstalkd one at a time (`reserve`, `delete`), in windows of
        100; of Redis taken for good (`BRPOP`).
        """),
    "disk-latency": _flow("""
        The round trip of one command, while so many connections do the same. Publishing includes the sync. What a
        consumer has taken may be written a little later: gstream does so within 100 ms.
        """),
    "disk-cold": _flow("""
        {backlog_messages:,.0f} messages of 100 bytes were published, 1,000 at a time, and the server was stopped.
        Another one is started, so that nothing of them is in its memory, and 8 connections take all of them (`w0
        1000`). In the system's memory: the files' pages are cached, and `cat` of the same files (to /dev/null) reads
        them from there, too. Not in it: for each of the two they have been dropped (`posix_fadvise`, as `vmtouch -e`
        does).
        """),
    "disk-space": _flow("""
        What all files of a server occupy that has been stopped, divided by the messages: {burst_messages:,.0f} of
        {message_bytes:g} bytes, published 1,000 at a time on 8 connections. Then a server is started on them, and all
        of the messages are consumed.
        """),
    "disk-restart": _flow("""
        {backlog_messages:,.0f} messages of 100 bytes are published, and the server is killed. From the start of another
        one to its first answer that is not `LOADING`; then all of them are consumed, and none is missing.
        """),
    "bars": _flow("""
        What gstream is held to. A bar is reached or not by the median, whatever the best round was, and it is not
        reached where a measurement failed in any round.
        """),
}

PICTURES = {
    "pipelined": "Bars: messages a second, pipelined, by server",
    "windows": "Lines: messages a second by how many are sent at a time, on a logarithmic scale",
    "one-at-a-time": "Lines: messages a second, one at a time, by the number of connections",
    "leases": "Bars: messages leased and acknowledged a second, by server",
    "wake": "From a publish to a consumer that waits, and an echo beside it: median and 99th percentile, by server",
    "latency": "Latency of a publish, from the median to the 99th percentile, by server and number of connections",
    "disk": "Bars: messages published on disk a second, synced every second or always, by server",
    "memory": "Bars: memory that a queued message and an idle connection take, by server",
}

VERDICT = "{reached} of {all} bars reached."
ABSENT = "The bars that compare with {peer} were not measured: it took no part."
FAILURES = "These measurements gave no figures."
