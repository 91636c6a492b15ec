"""`flask quarantine`: damaged files of the spool, listed, shown, replayed once they are whole."""

import sys

import click

from app.cli.text import goes_up
from app.state import state
from workers.errors import BucketBrigadeError
from workers.operate.quarantine import NotInQuarantine, Quarantine
from workers.spool.spool import Spool
from workers.storage import has_spool
from workers.upload.s3 import Bucket


@click.group("quarantine")
def quarantine() -> None:
    """Damaged files of the spool: list, show, replay."""


@quarantine.command("list")
def list_quarantine() -> None:
    """List the damaged files, oldest first."""
    found = _quarantine().all()
    for note in found:
        click.echo(f"{note['segment']}  {note['reason']}")
    if not found:
        click.echo("no damaged files", err=True)


@quarantine.command("show")
@click.argument("segment")
def show_quarantine(segment: str) -> None:
    """Print the payloads that can be read of a damaged file; an empty line for each other one."""
    try:
        for run in _quarantine().lines(segment):
            sys.stdout.buffer.write(run)
        sys.stdout.buffer.flush()
    except (NotInQuarantine, OSError) as error:
        raise click.ClickException(str(error)) from error


@quarantine.command("replay")
@click.argument("segment")
def replay_quarantine(segment: str) -> None:
    """Read a damaged file again; if it is whole now, upload what was lost of it, and drop it."""
    try:
        payloads = _quarantine().replay(segment)
    except (BucketBrigadeError, OSError) as error:
        raise click.ClickException(f"not replayed: {error}") from error
    if payloads:
        click.echo(goes_up(payloads, segment))
    else:
        click.echo(f"nothing of {segment} is lost: all of it is in S3")


def _quarantine() -> Quarantine:
    settings = state().settings
    if not has_spool(settings):
        raise click.ClickException("damaged files are in a spool, and here there is none")
    return Quarantine(Spool(settings.spool_dir), bucket=Bucket.connect(settings))
