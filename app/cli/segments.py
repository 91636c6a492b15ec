"""`flask segments`: what waits in the spool or queue, and what an operator decides about it."""

import sys
from collections.abc import Callable, Sequence

import click
from marshmallow import ValidationError

from app.cli.explained import explained
from app.cli.progress import with_bar
from app.cli.text import plural
from app.state import state
from workers.errors import BucketBrigadeError
from workers.operate.segments import Listed, Segments
from workers.settings.settings import SettingsSchema
from workers.spool.counters import Field
from workers.spool.spool import Spool
from workers.storage import open_segments

PARKED = "PARKED_"


def _bucket(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        SettingsSchema().fields["s3_bucket"].deserialize(value)
    except ValidationError as error:
        raise click.BadParameter(f"{value} {error.messages[0]}") from error
    return value


@click.group("segments")
def segments() -> None:
    """Payloads that wait in the spool, or in the queue: list, show, send elsewhere, bury."""


@segments.command("list")
def list_segments() -> None:
    """List the segments that are not stored, oldest first; why some cannot go, on stderr."""
    with explained():
        opened = open_segments(state().settings)
        is_empty = True
        for listed in opened.all():
            click.echo(_line(listed))
            is_empty = False
    if is_empty:
        # There may be no spool yet.
        place = "spool" if isinstance(opened, Segments) else "queue"
        click.echo(f"no segments: nothing waits in the {place}", err=True)
        return
    parked = _parked() if isinstance(opened, Segments) else opened.parked
    if parked:
        reasons = ", ".join(f"{number} {reason}" for reason, number in parked.items())
        click.echo(f"parked: {reasons}", err=True)


@segments.command("show")
@click.argument("segment")
def show_segment(segment: str) -> None:
    """Print a segment's payloads."""
    with explained():
        for run in open_segments(state().settings).lines(segment):
            sys.stdout.buffer.write(run)
    sys.stdout.buffer.flush()


@segments.command("reroute")
@click.argument("names", metavar="SEGMENT...", nargs=-1)
@click.option("--all-of", metavar="BUCKET", help="All segments that are to go to this bucket.")
@click.option("--bucket", required=True, callback=_bucket, help="Where they go instead.")
@click.option(
    "--without-looking",
    is_flag=True,
    help="Go on where S3 does not say whether the old bucket holds the object already.",
)
def reroute(
    names: tuple[str, ...], *, all_of: str | None, bucket: str, without_looking: bool
) -> None:
    """Send segments to another bucket, under the keys that they have."""
    found = _in_spool()
    chosen = [*names, *(one.name for one in found.all() if _goes_to(one, all_of))]
    done = _decide(
        chosen, lambda name: found.reroute(name, bucket=bucket, look=not without_looking)
    )
    what = plural(done, "segment goes", "segments go")
    click.echo(f"{what} to {bucket}, a minute from now, once a service runs")


@segments.command("bury")
@click.argument("names", metavar="SEGMENT...", nargs=-1, required=True)
def bury(names: tuple[str, ...]) -> None:
    """Make dead letters of segments; those that S3 turns out to hold are counted stored."""
    found = _in_spool()
    done = _decide(names, found.bury)
    what = plural(done, "segment becomes a dead letter", "segments become dead letters")
    click.echo(f"{what}, a minute from now, once a service runs")


def _in_spool() -> Segments:
    with explained():
        found = open_segments(state().settings)
    if isinstance(found, Segments):
        return found
    raise click.ClickException(
        "segments of a queue go to the bucket that they were made for, and wait until they can"
    )


def _parked() -> dict[str, int]:
    totals = Spool(state().settings.spool_dir).totals()
    return {
        field.name.removeprefix(PARKED).lower(): totals[field]
        for field in Field
        if field.name.startswith(PARKED) and totals[field]
    }


def _decide(names: Sequence[str], act: Callable[[str], None]) -> int:
    done = 0
    for name in with_bar(names, "decided"):
        try:
            act(name)
        except BucketBrigadeError as error:
            raise click.ClickException(f"{error} ({done} before it are decided)") from error
        done += 1
    return done


def _goes_to(listed: Listed, bucket: str | None) -> bool:
    return bucket is not None and listed.header is not None and listed.header.bucket == bucket


def _line(listed: Listed) -> str:
    place = "?"
    if listed.header is not None:
        place = f"{listed.header.stream}  s3://{listed.header.bucket}/{listed.header.key}"
    more = "; ".join(filter(None, (listed.state, listed.cause, listed.decision, listed.fault)))
    age = f"{listed.age_seconds:.0f} s"
    return f"{listed.name}  {place}  {plural(listed.lines, 'payload')}  {age}  {more}"
