#!/usr/bin/env python3
"""Fan-out: every group gets every message, and within a group each message goes to one consumer.

    gstream serve
    python fan_out.py billing                # in one terminal
    python fan_out.py audit                  # in another; and once more, to share the work of audit
    seq 1000 | gstream publish -t orders

It prints the messages of its group, one a line, as they come. Each counts as done when the next one is asked for, so
what it was busy with when it was interrupted is delivered again. Who starts late misses nothing that is still kept.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from gstream import Client

SERVER = (os.environ.get("GSTREAM_HOST", "127.0.0.1"), int(os.environ.get("GSTREAM_PORT", "8080")))


def main() -> None:
    """Print what the group in the first argument gets, until Ctrl-C."""
    output = sys.stdout.buffer
    with Client(*SERVER, topic="orders", group=sys.argv[1]) as client, client.subscribe() as orders:
        for order in orders:
            output.write(b"%b\n" % order.body)
            output.flush()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
