"""`flask top`: the console in a terminal. Reads the spool, and needs no running service."""

import contextlib
import sys
import threading
from typing import Any

import click

from app.cli.top_sections import Section, chart, figures, first_lines, tables
from app.console_data import ConsoleData, console_data
from app.state import state
from workers.errors import QueueError, SettingsError

EVERY_SECONDS = 1.0
COLOURS = {"ok": "green", "late": "yellow", "refusing": "red"}
INSTALL = "pip install --no-deps --require-hashes -r requirements-terminal.lock"
PLAIN_ROWS = 10


@click.command("top")
@click.option("--once", is_flag=True, help="Print it once, and end.")
def top(*, once: bool) -> None:
    """Show what the service does, as the console does, until Ctrl-C; plainly if not a terminal."""
    if once or not sys.stdout.isatty():
        _print(_look())
        return
    try:
        import rich.live  # noqa: F401, PLC0415 (only a terminal needs it)
    except ModuleNotFoundError:
        _print(_look())
        click.echo(f"\nFor a live view: {INSTALL}", err=True)
        return
    # Also while the first picture is drawn.
    with contextlib.suppress(KeyboardInterrupt):
        _follow()


def _look() -> ConsoleData:
    here = state()
    try:
        return console_data(here.settings, here.sight(), here.entrance.gate)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    except QueueError as error:
        raise click.ClickException(f"QUEUE_URL cannot be read: {error}") from error
    except OSError as error:
        place = here.settings.spool_dir
        raise click.ClickException(f"SPOOL_DIR {place} cannot be read: {error}") from error


def _print(data: ConsoleData) -> None:
    for line in first_lines(data):
        click.echo(line)
    for section in (figures(data), *tables(data, rows=PLAIN_ROWS)):
        click.echo()
        if section.title:
            click.echo(section.title)
        for line in _aligned(section):
            click.echo(line)


def _aligned(section: Section) -> list[str]:
    names = [name.removeprefix(">") for name in section.columns]
    lines = [names, *section.rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(names))]
    return [
        "  ".join(
            cell.rjust(width) if name.startswith(">") else cell.ljust(width)
            for cell, width, name in zip(line, widths, section.columns, strict=True)
        ).rstrip()
        for line in lines
    ]


def _follow() -> None:
    from rich.live import Live  # noqa: PLC0415

    pause = threading.Event()
    first = _look()
    with Live(screen=True, auto_refresh=False) as live:
        live.update(_screen(first, live.console.size), refresh=True)
        while not pause.wait(EVERY_SECONDS):
            live.update(_next(live.console.size), refresh=True)


def _next(room: Any) -> Any:
    """Return the next picture; while the spool or the queue is away, that it is."""
    from rich.panel import Panel  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    try:
        return _screen(_look(), room)
    except click.ClickException as error:
        return Panel(Text(error.message, style="bold red"), border_style="red")


def _screen(data: ConsoleData, room: Any) -> Any:
    """Return one picture. Texts are `Text`s: what is in them is no markup."""
    from rich.console import Group  # noqa: PLC0415
    from rich.panel import Panel  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    first, *more = first_lines(data)
    colour = COLOURS[data.verdict.state]
    answer = Text(first, style=f"bold {colour}")
    answer.append("".join(f"\n{line}" for line in more), style="default")
    width = room.width - 12
    bars = Text()
    for name, style in (("accepted", "blue"), ("stored", "green"), ("refused", "red")):
        bars.append(f"{name:>9} ", style="dim")
        bars.append(f"{chart(getattr(data.chart, name), width)}\n", style=style)
    # So much fits: what the lines above take, and a title and a head for each table.
    found = tables(data, rows=room.height)
    left = room.height - 13 - len(more) - 3 * len(found)
    found = tables(data, rows=max(2, left // max(1, len(found))))
    place = f"Bucket Brigade  s3://{data.bucket}  {data.durability}"
    return Group(
        Panel(answer, title=place, title_align="left", border_style=colour),
        _table(figures(data)),
        bars,
        *(_table(section) for section in found),
    )


def _table(section: Section) -> Any:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        title=Text(section.title, style="bold") if section.title else None,
        title_justify="left", box=None, expand=True, padding=(0, 2, 0, 0), header_style="dim",
    )  # fmt: skip
    for name in section.columns:
        is_number, is_last = name.startswith(">"), name == section.columns[-1]
        table.add_column(
            name.removeprefix(">"),
            justify="right" if is_number else "left",
            no_wrap=True,
            # What is long comes last, and takes what the others leave.
            ratio=1 if is_last and not is_number else None,
        )
    for row in section.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
