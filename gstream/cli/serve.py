"""``gstream serve``: arguments to a Config, and a Config to a Service. gevent is imported when it serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from gstream import __version__
from gstream.cli.options import CONTEXT, load, setting_options
from gstream.cli.output import print_bytes, told_in_one_line

__all__ = ["serve"]


@click.command(
    context_settings=CONTEXT,
    epilog="""
Each option is also a variable of the environment (GSTREAM_MAX_MEMORY for --max-memory, GSTREAM_CONFIG for --config) and
a key in the TOML file (max-memory = "2GiB"). Options win over the environment, the environment over the file.

\b
Examples:
  gstream serve --port 9000 --max-memory 2GiB
  gstream serve --socket /run/user/1000/gstream.sock
  gstream serve --lease 300 --max-attempts 3     (slow consumers, impatient ones)
  gstream serve --partitions 8 --retain 1GiB
  gstream serve --data-dir /var/lib/gstream
  gstream serve --data-dir data --sync 1         (faster; a power loss may cost a second)
  gstream serve --data-dir data --retain-seconds 604800 --retain-bytes 10GiB
  gstream serve --kafka                          (Kafka's clients, too, on port 9092)
  gstream serve --kafka --kafka-host 0.0.0.0 --insecure --kafka-advertise broker:9092
  GSTREAM_LOG_JSON=1 gstream serve --config gstream.toml
  gstream serve --config gstream.toml --check

With --data-dir, messages outlive the server; docs/operations.md says what is promised. Where the directory cannot be
used, one line says why, and the exit code is 2. Without it, --sync, --segment-bytes and --segment-seconds mean nothing.

SIGTERM or Ctrl-C stops it: what was read is answered first. A second one ends it at once.
""",
)
@setting_options
@click.option("--check", is_flag=True, help="Print the settings in force and where they come from, and end.")
@told_in_one_line
def serve(check: bool, **options: Any) -> None:
    """Run the server."""
    loaded = load(options)
    config = loaded.config
    if check:
        from gstream.listeners import resolve

        resolve(config.host, config.port, insecure=config.insecure)
        if config.kafka:
            resolve(config.kafka_host, config.kafka_port, insecure=config.insecure, option="kafka-host")
        print_bytes(os.fsencode("\n".join(loaded.lines()) + "\n"))
        return
    from gstream.logs import configure_logging
    from gstream.service import Service

    configure_logging(config.log_level, as_json=config.log_json)
    service = Service(config)
    with service:
        _stop_on_signals(service.request_stop)
        if not config.log_json and sys.stdout is not None:
            where = f"gstream {__version__} listens on {' and '.join(service.endpoints)}"
            if service.kafka is not None:
                where += f"; Kafka's clients: {' and '.join(service.kafka.endpoints)}"
            print_bytes(os.fsencode(f"{where}\n{service.engine.name}: {service.engine.promise}\n"))
        service.run_until_stopped()


def _stop_on_signals(stop: Callable[[], None]) -> None:
    import signal

    import gevent

    def first_signal() -> None:
        for handler in handlers:
            handler.cancel()
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        stop()

    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [gevent.signal_handler(number, first_signal) for number in numbers]
