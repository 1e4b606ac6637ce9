"""``gstream publish``: what is read to messages, and how many of them are stored when something goes wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from gstream.cli.options import CONTEXT, connect, connection_options, seconds_option, topic_option
from gstream.cli.output import CommandError, note, plural, told_in_one_line
from gstream.cli.progress import Progress
from gstream.cli.records import Record, decode_record
from gstream.cli.sources import is_typed, read_pieces, total_size
from gstream.errors import GstreamError

if TYPE_CHECKING:
    from gstream.client import Client

__all__ = ["publish"]

LONGEST_KEY_BYTES, LONGEST_ID_BYTES = 1024, 255
"""docs/protocol.md, "Limits"."""


@click.command(
    context_settings=CONTEXT,
    short_help="Publish each line of files as a message.",
    epilog="""
With --json each line is an object: {"body": "text"} or {"body_base64": "..."}, and if wanted "key" (or "key_base64"),
"delay" in seconds, and "id". Null is the same as nothing; other names are refused.

\b
Examples:
  echo hello | gstream publish
  gstream publish -t words words.txt more.txt
  tail -f app.log | gstream publish --host queue.example --port 9000
  find . -print0 | gstream publish -t files --null
  echo 'try again' | gstream publish --delay 60
  echo paid | gstream publish --key customer-7 --id invoice-42     once, however often this runs

Dead letters, once more, with their keys; each leaves the topic of dead letters:

\b
  gstream consume -t jobs.dlq --exit-empty --json |
    jq -c '{body,body_base64,key,key_base64} | with_entries(select(.value != null))' |
    gstream publish -t jobs --json

A CR before the LF belongs to the line ending; --null keeps it.

Every message is confirmed by the server before this ends. Exit code 0: all are stored; 2: an error, which tells how
many are.
""",
)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path())
@topic_option("The topic to publish to.")
@click.option("-k", "--key", metavar="KEY", help="Messages with the same key go to the same partition, in order.")
@seconds_option("--delay", "Publish them so much later.  [default: at once]")
@click.option("--id", metavar="ID", help="The topic takes a message with this ID once; for a single message.")
@click.option("--null", is_flag=True, help="Messages end in NUL, not LF, and may so hold lines.")
@click.option("--json", "as_json", is_flag=True, help="Each line is a JSON object; see below.")
@connection_options
@told_in_one_line
def publish(
    files: tuple[str, ...],
    topic: str,
    key: str | None,
    delay: float,
    id: str | None,
    null: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Publish each line of FILEs (standard input, or -) as a message."""
    if as_json and (null or id is not None):
        raise click.UsageError("--json goes without --null and --id: an object has its own id")
    if id is not None and not 0 < len(id.encode(errors="surrogateescape")) <= LONGEST_ID_BYTES:
        raise click.UsageError(f"--id is 1 to {LONGEST_ID_BYTES} bytes long")
    given = key.encode(errors="surrogateescape") if key is not None else None
    if given is not None and len(given) > LONGEST_KEY_BYTES:
        raise click.UsageError(f"--key is up to {LONGEST_KEY_BYTES} bytes long")
    pieces = read_pieces(files or ("-",), b"\0" if null else b"\n")
    with connect(options, topic=topic) as client, Progress(total_size(files), wanted=not is_typed(files)) as progress:
        publisher = _Publisher(client, given, delay)
        try:
            if id is not None:
                publisher.publish_one(pieces, id)
            elif as_json:
                publisher.publish_records(pieces, progress)
            else:
                publisher.publish_bodies(pieces, progress)
        except CommandError as error:  # of reading
            raise CommandError(f"{error.message} ({_were(publisher.published)} published before)") from None
        except GstreamError as error:
            raise CommandError(f"{error} ({publisher.harm(error)})") from None
        except KeyboardInterrupt:
            note(f"interrupted (at least {_were(publisher.published)} published before)")
            raise


class _Publisher:
    """Publishes what is read, and counts.

    key, delay_seconds: of messages that say nothing else.
    """

    def __init__(self, client: Client, key: bytes | None, delay_seconds: float) -> None:
        self.published = 0
        self._client = client
        self._key = key
        self._delay_seconds = delay_seconds

    def publish_bodies(self, pieces: Iterable[tuple[int, list[bytes]]], progress: Progress) -> None:
        for size, bodies in pieces:
            self.published += self._client.publish(bodies, key=self._key, delay_seconds=self._delay_seconds)
            progress.advance(size, plural(self.published, "message"))

    def publish_one(self, pieces: Iterable[tuple[int, list[bytes]]], id: str) -> None:
        """Publish the only message, once it is known to be the only one."""
        bodies: list[bytes] = []
        for _, more in pieces:
            bodies += more
            if len(bodies) > 1:
                raise CommandError("--id is for one message, and there are more")
        for body in bodies:
            self._publish_record(Record(body, id=id))

    def publish_records(self, pieces: Iterable[tuple[int, list[bytes]]], progress: Progress) -> None:
        number = 0
        for size, lines in pieces:
            # Those before a bad line are published, as those before a missing file are.
            for each in _runs(_decode(lines, number)):
                if isinstance(each, CommandError):
                    raise each
                if each[0].id is not None:
                    self._publish_record(each[0])
                else:
                    key, delay = self._of(each[0])
                    bodies = [record.body for record in each]
                    self.published += self._client.publish(bodies, key=key, delay_seconds=delay)
            number += len(lines)
            progress.advance(size, plural(self.published, "message"))

    def harm(self, error: GstreamError) -> str:
        """What is known of the messages when this was raised."""
        from gstream.errors import RefusedError

        stored = self.published + getattr(error, "confirmed", 0)
        if isinstance(error, RefusedError):
            return f"{_were(stored)} published, some perhaps behind it"
        return f"at least {_were(stored)} published before"

    def _publish_record(self, record: Record) -> None:
        key, delay = self._of(record)
        self.published += self._client.publish(record.body, key=key, delay_seconds=delay, id=record.id)

    def _of(self, record: Record) -> tuple[bytes | None, float]:
        key = self._key if record.key is None else record.key
        return key, self._delay_seconds if record.delay_seconds is None else record.delay_seconds


def _were(count: int) -> str:
    return f"{plural(count, 'message')} {'was' if count == 1 else 'were'}"


def _decode(lines: list[bytes], before: int) -> Iterator[Record | CommandError]:
    for number, line in enumerate(lines, before + 1):
        if not line.strip():
            continue
        try:
            yield decode_record(line)
        except ValueError as error:
            yield CommandError(f"object {number}: {error}")
            return


def _runs(records: Iterable[Record | CommandError]) -> Iterator[list[Record] | CommandError]:
    """Neighbours that can be published together: the same key and delay, and no id."""

    def sort_of(each: Record | CommandError) -> object:
        return (each.key, each.delay_seconds) if isinstance(each, Record) and each.id is None else id(each)

    for _, run in groupby(records, sort_of):
        records = list(run)
        if isinstance(records[0], CommandError):
            yield records[0]
        else:
            yield [each for each in records if isinstance(each, Record)]
