#!/usr/bin/env python3
"""A pool of workers: each thread leases a message, does what it asks for, and acknowledges it.

    gstream serve
    find /etc -type f | gstream publish -t files
    python workers.py                        # start it as often as you like; Ctrl-C ends it
    gstream consume -t digests -n 10

The work here: each message of the topic ``files`` names a file, and its SHA-256 is published to ``digests``. What
cannot be done is given back and tried again later; when it has failed too often (the server's --max-attempts), it is
kept in the topic ``files.dlq``. If the program is killed, what it had leased is delivered again at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
from pathlib import Path

from gstream import Client, ClientError

SERVER = (os.environ.get("GSTREAM_HOST", "127.0.0.1"), int(os.environ.get("GSTREAM_PORT", "8080")))
WORKERS = 4
RETRY_SECONDS = float(os.environ.get("RETRY_SECONDS", "5"))

log = logging.getLogger("workers")
stopping = threading.Event()


def digest(path: str) -> bytes:
    """What sha256sum prints of a file."""
    return f"{hashlib.sha256(Path(path).read_bytes()).hexdigest()}  {path}".encode()


def work() -> None:
    """Work until it is time to stop. A client belongs to one thread."""
    with Client(*SERVER, topic="files", group="digests") as files, Client(*SERVER, topic="digests") as digests:
        while not stopping.is_set():
            try:
                with files.lease(wait_seconds=1) as lease:
                    for message in lease:
                        try:
                            # Whoever does the same message again publishes under the same id, and that once.
                            digests.publish(digest(message.body.decode()), id=message.id)
                        except Exception:
                            log.exception("%r, attempt %d", message.body, message.attempt)
                            lease.give_back(message, delay_seconds=RETRY_SECONDS)
            except ClientError as error:
                # The lease was over, or the connection is: it is delivered again, and the client connects again.
                log.warning("not acknowledged: %s", error)


def main() -> None:
    """Run the pool until SIGINT or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
