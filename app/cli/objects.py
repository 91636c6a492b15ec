"""`flask objects`: the newest objects with their lines, or a list of those since some time."""

import re
import sys
import time
from datetime import UTC, datetime

import click

from app.cli.progress import counted
from app.cli.text import plural
from app.state import state
from workers.errors import StoreError
from workers.upload.reading import UnreadableObject, decompress
from workers.upload.s3 import Bucket

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
# Keys and when they were modified, in seconds since 1970.
Listed = list[tuple[str, float]]


def _since(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Return a moment, in seconds since 1970, from one or from how long ago it was."""
    if value is None:
        return None
    if ago := re.fullmatch(r"(\d+)([smhd])", value):
        return time.time() - int(ago[1]) * _SECONDS[ago[2]]
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter("is no 30s, 10m, 2h, 1d, nor a time as in RFC 3339") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@click.command("objects")
@click.option("--newest", default=3, show_default=True, help="How many objects to print.")
@click.option("--prefix", default="", help="Only keys that begin so.")
@click.option(
    "--since",
    callback=_since,
    help="List those stored since then, without their lines: 10m, 2h, or 2026-11-26T09:00 (UTC).",
)
def objects(newest: int, prefix: str, since: float | None) -> None:
    """Print the newest objects in the bucket, lines and all; or list those of a time."""
    settings = state().settings
    bucket = Bucket.connect(settings)
    try:
        listed = counted(bucket.list(settings.s3_bucket, prefix), "objects listed")
        found = sorted(listed, key=lambda item: item[1])
        click.echo(
            f"{plural(len(found), 'object')} in s3://{settings.s3_bucket}/{prefix}", err=True
        )
        if since is None:
            _print_lines(bucket, settings.s3_bucket, found[-newest:])
        else:
            _print_list(settings.s3_bucket, [item for item in found if item[1] >= int(since)])
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def _print_list(bucket: str, found: Listed) -> None:
    for key, modified in found:
        moment = datetime.fromtimestamp(modified, UTC)
        click.echo(f"{moment:%Y-%m-%dT%H:%M:%SZ}  s3://{bucket}/{key}")


def _print_lines(bucket: Bucket, name: str, found: Listed) -> None:
    for key, modified in found:
        moment = datetime.fromtimestamp(modified, UTC)
        click.echo(f"--- s3://{name}/{key}  {moment:%H:%M:%S}Z", err=True)
        body, _ = bucket.get(name, key)
        try:
            sys.stdout.buffer.write(decompress(body))
            sys.stdout.buffer.flush()
        except UnreadableObject as error:
            click.echo(f"cannot be read: {error}", err=True)
