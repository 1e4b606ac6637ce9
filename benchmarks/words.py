"""What the page says: sentences only, each true of any run in which its subject took part.

No figure stands here but those that the scenarios' own constants and the run's sizes are put into: {in braces}.
"""

from __future__ import annotations


def _flow(text: str) -> str:
    """One line a paragraph: where lines break is the page's own business."""
    return " ".join(text.split())


INTRODUCTION = _flow("""
    Messages of {message_bytes:g} bytes published and consumed over TCP with {servers}: throughput, latency, memory,
    and the time to start. This page is written by the benchmark; every figure on it is computed from [what was
    measured](benchmarks.json).
    """)

QUICK = "**This was a quick run. It shows that the benchmark works; its figures are too short to be measurements.**"

SERVERS = {
    "gstream": _flow("""
        **gstream**: this project's server, with its memory engine, the default: nothing is written to disk.
        """),
    "redis": _flow("""
        **Redis**: a list; `LPUSH` publishes, `RPOP` consumes, one message a command, as with gstream. Nothing is
        written to disk. Redis also has commands that carry many messages (`LPUSH` with several values, `RPOP` with a
        count); they are not measured here.
        """),
    "beanstalkd": _flow("""
        **beanstalkd**: `put` publishes; `reserve` and then `delete` consume, two commands a message, because that is
        how it gives a message away for good. Nothing is written to disk.
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
        message counts when its reply has been read.
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
python benchmarks/run.py --quick --rounds 1   # does it all work? under a minute
python benchmarks/run.py --output docs        # all of it, and this page
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
    "bars": _flow("""
        What gstream is held to. A bar is reached or not by the median, whatever the best round was, and it is not
        reached where a measurement failed in any round.
        """),
}

PICTURES = {
    "pipelined": "Bars: messages a second, pipelined, by server",
    "windows": "Lines: messages a second by how many are sent at a time, on a logarithmic scale",
    "one-at-a-time": "Lines: messages a second, one at a time, by the number of connections",
    "latency": "Latency of a publish, from the median to the 99th percentile, by server and number of connections",
    "memory": "Bars: memory that a queued message and an idle connection take, by server",
}

VERDICT = "{reached} of {all} bars reached."
ABSENT = "The bars that compare with {peer} were not measured: it took no part."
FAILURES = "These measurements gave no figures."
