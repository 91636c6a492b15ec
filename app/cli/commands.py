"""Operators' `flask` commands, but for `segments`. They start no pipeline."""

import importlib.metadata
import json
import platform
import sys

import click

from app.cli.explained import explained
from app.cli.keys import keys
from app.cli.objects import objects
from app.cli.progress import with_bar
from app.cli.quarantine import quarantine
from app.cli.segments import segments
from app.cli.tail import tail
from app.cli.text import goes_up, plural
from app.cli.top import top
from app.cli.unread_fields import unread_fields
from app.state import state
from app.version import VERSION
from workers.errors import BucketBrigadeError, QueueError, StoreError
from workers.operate.checks import put_options_alone, run_checks, variants
from workers.operate.dead_letters import DeadLetters
from workers.operate.queued_dead_letters import QueuedDeadLetters
from workers.operate.receipts import UnknownReceipt
from workers.spool.spool import Spool
from workers.storage import open_dead_letters, open_receipts, queue_probe
from workers.upload.reading import UnreadableObject
from workers.upload.s3 import Bucket


@click.command("receipt")
@click.argument("id")
def receipt(id: str) -> None:
    """Print a receipt's payloads out of S3; if they are not there yet, say where they are."""
    settings = state().settings
    receipts = open_receipts(settings, bucket=Bucket.connect(settings))
    try:
        status = receipts.look_up(id)
        if status.state != "stored":
            raise click.ClickException(f"{status.state}: {status.reason or status.object}")
        _print(b"".join(line + b"\n" for line in receipts.payloads(id)))
    except UnknownReceipt as error:
        raise click.ClickException("there is no such receipt") from error
    except (StoreError, QueueError, UnreadableObject) as error:
        raise click.ClickException(str(error)) from error


@click.group("dead-letters")
def dead_letters() -> None:
    """Payloads that S3 refused for good: list, show, replay."""


@dead_letters.command("list")
def list_dead() -> None:
    """List the dead letters, oldest first, with their reasons."""
    with explained():
        found = list(_dead_letters().all())
    for dead_letter in found:
        click.echo(
            f"{dead_letter['name']}  {plural(dead_letter['payloads'], 'payload')}"
            f"  {dead_letter['reason']}"
        )
    if not found:
        click.echo("no dead letters", err=True)


@dead_letters.command("show")
@click.argument("segment")
def show_dead(segment: str) -> None:
    """Print a dead letter's payloads, its reason and key before them on stderr."""
    with explained():
        dead_letter = _dead_letters().read(segment)
    click.echo(json.dumps(dead_letter.note), err=True)
    _print(dead_letter.lines)


@dead_letters.command("replay")
@click.argument("segment", required=False)
@click.option("--all", "everything", is_flag=True, help="All of them, oldest first.")
def replay_dead(segment: str | None, *, everything: bool) -> None:
    """Give a dead letter back to the service: a running process uploads it to the same key."""
    if (segment is None) != everything:
        raise click.UsageError("name a segment, or say --all")
    with explained():
        letters = _dead_letters()
        names = [str(each["name"]) for each in letters.all()] if segment is None else [segment]
    payloads = done = 0
    for name in with_bar(names, "replayed"):
        try:
            payloads += letters.replay(name)
        except BucketBrigadeError as error:
            if segment is not None:
                raise click.ClickException(str(error)) from error
            click.echo(f"not replayed: {name}: {error}", err=True)
        else:
            done += 1
    if not names:
        click.echo("no dead letters", err=True)
        return
    click.echo(goes_up(payloads, segment or plural(done, "dead letter")))
    sys.exit(done != len(names))


@click.command("check")
def check() -> None:
    """Try all that the service needs, and name exactly what is missing. Exit status 1 if any is."""
    settings = state().settings
    failed = False
    for sentence in unread_fields(settings):
        click.echo(f"warn {sentence}")
    bucket, queue = Bucket.connect(settings), queue_probe(settings)
    spool = None if queue else Spool(settings.spool_dir)
    others, alone = variants(settings), put_options_alone(settings)
    for result in run_checks(settings, bucket, spool, queue=queue, others=others, alone=alone):
        failed |= result.fault is not None
        mark = "ok  " if result.fault is None else "FAIL"
        if not result.tried:
            mark = "skip"
        more = result.fault or result.note
        click.echo(f"{mark} {result.what}" + (f": {more}" if more else ""))
    sys.exit(1 if failed else 0)


@click.command("version")
def version() -> None:
    """Print the version of the service, of Python, and of what reads HTTP."""
    engines = (f"{name} {importlib.metadata.version(name)}" for name in ("gunicorn", "granian"))
    click.echo(f"bucket-brigade {VERSION}")
    click.echo(", ".join([f"Python {platform.python_version()}", *engines]))


def _dead_letters() -> DeadLetters | QueuedDeadLetters:
    settings = state().settings
    return open_dead_letters(settings, bucket=Bucket.connect(settings))


def _print(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


COMMANDS = (objects, receipt, segments, dead_letters, quarantine, check, keys, version, top, tail)
