"""`flask tail STREAM`: payloads as they are accepted, by any process of this machine."""

import os
import select
import sys
import threading

import click

from app.cli.text import plural
from app.state import state
from workers.operate.tail import Follower
from workers.spool.spool import Spool

EVERY_SECONDS, SLOW_SECONDS = 0.1, 1.0
# A pipe that `select` calls writable takes so much without blocking (pipe(7)).
PIECE_BYTES = select.PIPE_BUF


@click.command("tail")
@click.argument("stream")
def tail(stream: str) -> None:
    """Print a stream's payloads as they are accepted, until Ctrl-C. STREAM may be a pattern.

    If they come faster than they are read, some are skipped, and stderr says how many.
    """
    settings = state().settings
    if settings.durability != "disk":
        raise click.ClickException("payloads can be followed only with DURABILITY=disk")
    follower = Follower(Spool(settings.spool_dir), stream)
    pause = threading.Event()
    try:
        while True:
            _show(follower)
            pause.wait(EVERY_SECONDS)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # So that Python does not fail once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        follower.close()


def _show(follower: Follower) -> None:
    for run in follower.step():
        if not _write(run):
            # What was begun is finished, so that no line is cut; then the rest is given up.
            follower.skip()
    if skipped := follower.skipped():
        what = plural(skipped, "payload was", "payloads were")
        click.echo(f"{what} skipped: more came than was read", err=True)


def _write(run: bytes) -> bool:
    """Write a run of lines whole. False where the reader was slow."""
    output, is_quick = sys.stdout.fileno(), True
    for start in range(0, len(run), PIECE_BYTES):
        piece = run[start : start + PIECE_BYTES]
        while not select.select([], [output], [], SLOW_SECONDS)[1]:
            is_quick = False
        while piece:
            piece = piece[os.write(output, piece) :]
    return is_quick
