"""Progress of commands that take long, on standard error, and only where that is a terminal."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import click

Item = TypeVar("Item")
# A page of S3's list, and so about as often as there is something new to say.
COUNT_EVERY = 1000


def with_bar(items: Sequence[Item], label: str) -> Iterator[Item]:
    """Yield the items, and show how many are done; nothing for a single one."""
    hidden = len(items) < 2 or not sys.stderr.isatty()
    with click.progressbar(
        items, label=label, file=sys.stderr, hidden=hidden, show_pos=True
    ) as bar:
        yield from bar


def counted(items: Iterable[Item], label: str) -> Iterator[Item]:
    """Yield the items, and show how many there were so far."""
    shows = sys.stderr.isatty()
    number = 0
    for number, item in enumerate(items, 1):
        if shows and number % COUNT_EVERY == 0:
            click.echo(f"\r{label}: {number:,}", err=True, nl=False)
        yield item
    if shows and number >= COUNT_EVERY:
        click.echo(f"\r{label}: {number:,}", err=True)
