"""`flask segments`: what waits in the spool, and what an operator decides about it."""

import sys
from collections.abc import Callable, Sequence

import click
from marshmallow import ValidationError

from app.cli.progress import with_bar
from app.state import state
from workers.errors import BucketBrigadeError
from workers.operate.segments import Listed, Segments
from workers.settings import SettingsSchema
from workers.spool.counters import Field
from workers.spool.spool import Spool

PARKED = "PARKED_"


def _bucket(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        SettingsSchema().fields["s3_bucket"].deserialize(value)
    except ValidationError as error:
        raise click.BadParameter(f"{value} {error.messages[0]}") from error
    return value


@click.group("segments")
def segments() -> None:
    """Payloads that wait in the spool: list, show, send to another bucket, bury."""


@segments.command("list")
def list_segments() -> None:
    """List the segments in the spool, oldest first; why some cannot go, on stderr."""
    spool = Spool(state().settings.spool_dir)
    found = list(Segments(spool).all())
    if not found:
        # There may be no spool yet.
        click.echo("no segments: nothing waits in the spool", err=True)
        return
    for listed in found:
        click.echo(_line(listed))
    totals = spool.totals()
    parked = {
        field.name.removeprefix(PARKED).lower(): totals[field]
        for field in Field
        if field.name.startswith(PARKED) and totals[field]
    }
    if parked:
        reasons = ", ".join(f"{number} {reason}" for reason, number in parked.items())
        click.echo(f"parked: {reasons}", err=True)


@segments.command("show")
@click.argument("segment")
def show_segment(segment: str) -> None:
    """Print a segment's payloads."""
    try:
        for run in Segments(Spool(state().settings.spool_dir)).lines(segment):
            sys.stdout.buffer.write(run)
    except BucketBrigadeError as error:
        raise click.ClickException(str(error)) from error
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
    found = Segments(Spool(state().settings.spool_dir))
    chosen = [*names, *(one.name for one in found.all() if _goes_to(one, all_of))]
    done = _decide(
        chosen, lambda name: found.reroute(name, bucket=bucket, look=not without_looking)
    )
    click.echo(f"{done} segments go to {bucket}, a minute from now, once a service runs")


@segments.command("bury")
@click.argument("names", metavar="SEGMENT...", nargs=-1, required=True)
def bury(names: tuple[str, ...]) -> None:
    """Make dead letters of segments; those that S3 turns out to hold are counted stored."""
    found = Segments(Spool(state().settings.spool_dir))
    done = _decide(names, found.bury)
    click.echo(f"{done} segments become dead letters, a minute from now, once a service runs")


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
    return f"{listed.name}  {place}  {listed.lines} payloads  {age}  {more}"
