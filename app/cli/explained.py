"""Errors of a command: what is raised on purpose is its message, and exit status 1."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from workers.errors import BucketBrigadeError


@contextmanager
def explained() -> Iterator[None]:
    """Raise a `ClickException` with the text of each of our errors."""
    try:
        yield
    except BucketBrigadeError as error:
        raise click.ClickException(str(error)) from error
