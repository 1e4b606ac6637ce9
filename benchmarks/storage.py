"""What the file layer of the disk engine costs, without a server: python benchmarks/storage.py [DIRECTORY].

Appending and syncing bursts, reading a cold log beside ``cat``, the checksum, and bytes on disk a message. The log is
made in a temporary directory within DIRECTORY (the current one), which should be on a real disk.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from crc32c import crc32c
from gstream.batch import Batch, pack
from gstream.storage.files import Files
from gstream.storage.log import Log, LogSettings

ROUNDS = 5
PRODUCERS = 8
BURST = 1000
SMALL = b"x" * 17
MEDIUM = b"x" * 100
COLD_MESSAGES = 4_000_000
READ_BYTES = 1 << 20


def seconds(work: Callable[[], object]) -> float:
    """The median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def open_log(directory: str, name: str) -> Log:
    path = os.path.join(directory, name)
    os.mkdir(path)
    return Log(path, print, LogSettings())


def append_and_sync(directory: str) -> None:
    """What one turn of the loop stores when eight producers sent a thousand messages each."""
    log = open_log(directory, "bursts")
    data = pack(*[SMALL] * BURST)
    turns = 50

    def work(*, one_batch: bool) -> None:
        for _ in range(turns):
            if one_batch:
                log.append([Batch(0, PRODUCERS * BURST, data * PRODUCERS, int(time.time() * 1000))])
            else:
                log.append([Batch(0, BURST, data, int(time.time() * 1000)) for _ in range(PRODUCERS)])
            log.sync()

    for one_batch in (False, True):
        took = seconds(lambda one_batch=one_batch: work(one_batch=one_batch)) / turns
        what = "as one batch" if one_batch else "as eight batches"
        print(f"append + sync, {PRODUCERS} x {BURST} x {len(SMALL)} bytes, {what}: {took * 1e3:.3f} ms,", end=" ")
        print(f"{PRODUCERS * BURST / took:,.0f} messages/s")
    append = seconds(lambda: log.append([Batch(0, BURST, data, 0) for _ in range(PRODUCERS)]))
    print(f"append alone: {append * 1e6:.0f} us")
    log.close()


def bytes_a_message(directory: str) -> None:
    log = open_log(directory, "sizes")
    for _ in range(1000):
        log.append([Batch(0, BURST, pack(*[SMALL] * BURST), 0)])
    log.close()
    size = sum(os.path.getsize(os.path.join(log.path, name)) for name in os.listdir(log.path))
    print(
        f"on disk, index included: {size / (1000 * BURST):.3f} bytes a {len(SMALL)}-byte message in bursts of {BURST}"
    )


def forget(path: str) -> None:
    """Let the next read of these files come from the disk."""
    files = Files()
    for name in os.listdir(path):
        fd = files.open(os.path.join(path, name))
        files.forget(fd)
        files.close(fd)


def read_all(log: Log) -> int:
    offset = count = 0
    while batches := log.read(offset, READ_BYTES):
        for batch in batches:
            count += len(batch.bodies())
            offset = batch.offset + batch.count
    return count


def cold_read(directory: str) -> None:
    log = open_log(directory, "cold")
    data = pack(*[MEDIUM] * BURST)
    for _ in range(COLD_MESSAGES // BURST):
        log.append([Batch(0, BURST, data, 0)])
    log.close()
    path = log.path
    files = sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".log"))
    size = sum(map(os.path.getsize, files))

    def cat() -> None:
        subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True)

    def frames() -> None:
        offset = 0
        while found := log.read_frames(offset, READ_BYTES):
            offset = found[-1].next_offset

    def messages() -> None:
        assert read_all(log) == COLD_MESSAGES

    for state, prepare in (("cold", forget), ("warm", lambda path: path)):
        for name, work in (("cat", cat), ("frames, checked", frames), ("messages, as objects", messages)):

            def prepared(prepare: Callable[[str], object] = prepare, work: Callable[[], None] = work) -> float:
                prepare(path)
                begin = time.perf_counter()
                work()
                return time.perf_counter() - begin

            took = statistics.median(prepared() for _ in range(ROUNDS))
            print(f"{state} read, {name}: {size / took / 1e6:,.0f} MB/s, {COLD_MESSAGES / took:,.0f} messages/s")
    begin = time.perf_counter()
    log = Log(path, print)
    print(f"open {len(files)} segments: {(time.perf_counter() - begin) * 1e3:.1f} ms")
    log.close()


def checksum() -> None:
    data = os.urandom(1 << 20)
    took = seconds(lambda: [crc32c(data) for _ in range(200)]) / 200
    print(f"CRC-32C: {took * 1e6:.0f} us a MiB, {len(data) / took / 1e9:.1f} GB/s")


def main() -> None:
    within = sys.argv[1] if len(sys.argv) > 1 else "."
    with tempfile.TemporaryDirectory(dir=within) as directory:
        append_and_sync(directory)
        bytes_a_message(directory)
        cold_read(directory)
    checksum()


if __name__ == "__main__":
    main()
