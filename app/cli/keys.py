"""`flask keys new | list | check`: the keys of the access file. They change no file."""

import json
import secrets
import sys
from typing import Any

import click

from app.access.access_file import NAME
from app.access.credentials import digest
from app.access.file_schemas import KeySchema
from app.access.rules import ADMIN, READ, WRITE, Rules
from app.access.watched_file import AccessFile
from app.state import state
from workers.errors import SettingsError
from workers.settings.settings import read_secret

# A prefix that scanners for leaked secrets can look for.
PREFIX = "bb_"
RANDOM_BYTES = 32


@click.group("keys")
def keys() -> None:
    """Keys of clients: make one, list those in force, check the access file."""


@keys.command("new")
@click.argument("name")
@click.option("--scope", type=click.Choice([WRITE, READ, ADMIN]), default=WRITE, show_default=True)
@click.option("--streams", multiple=True, help="Glob patterns, with commas. Default: all.")
@click.option("--url", is_flag=True, help="It may come as ?key=..., as pages send it.")
def new(name: str, *, scope: str, streams: tuple[str, ...], url: bool) -> None:
    """Make a key: print it, once, and on stderr the TOML to paste into ACCESS_FILE."""
    if not NAME.fullmatch(name):
        raise click.ClickException("a key's name is 1 to 64 of A-Z a-z 0-9 _ -")
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    table: dict[str, Any] = {"sha256": [digest(key).hex()], "scope": scope}
    if streams:
        table["streams"] = [part.strip() for given in streams for part in given.split(",")]
    if url:
        table["url"] = True
    mistakes = KeySchema().validate(table)
    if mistakes:
        raise click.ClickException(f"{', '.join(sorted(mistakes))}: {_first(mistakes)}")
    # What a TOML value of these kinds looks like is what JSON looks like.
    lines = [f"{member} = {json.dumps(value)}" for member, value in table.items()]
    click.echo("\n".join([f"[keys.{name}]", *lines]), err=True)
    click.echo(key)


@keys.command("list")
def list_keys() -> None:
    """List the keys of ACCESS_FILE: name, scope, streams, limits, last day, digests."""
    for each, key in sorted(_rules().keys.items(), key=lambda item: (item[1].name, item[0])):
        limits = [
            f"{limit:g} {what}/s"
            for limit, what in (
                (key.requests_per_second, "requests"),
                (key.bytes_per_second, "bytes"),
            )
            if limit is not None
        ]
        columns = [key.name, key.scope, ",".join(key.streams.patterns), *limits]
        if key.expires is not None:
            columns.append(f"until {key.expires}")
        click.echo("  ".join([*columns, f"sha256 {each.hex()[:12]}..."]))


@keys.command("check")
@click.option("--key", is_flag=True, help="Read a key from stdin, and say which one it is.")
def check(*, key: bool) -> None:
    """Check ACCESS_FILE; every mistake is named. Exit status 1 if there is any."""
    rules = _rules()
    if not key:
        click.echo(f"ok: {len(list(rules.names))} keys, {len(rules.webhooks)} webhooks,"
                   f" {len(rules.endpoints)} endpoints")  # fmt: skip
        return
    found = rules.keys.get(digest(sys.stdin.readline().strip()))
    if found is None:
        raise click.ClickException("this key is not in the file")
    click.echo(f"{found.name}  {found.scope}  {','.join(found.streams.patterns)}")


def _first(mistakes: Any) -> str:
    """Return the first of marshmallow's messages."""
    while isinstance(mistakes, dict):
        mistakes = next(iter(mistakes.values()))
    return str(mistakes[0])


def _rules() -> Rules:
    path = state().settings.access_file
    if path is None:
        raise click.ClickException("ACCESS_FILE is not set: everything is open")
    try:
        return AccessFile(path, secret=read_secret).rules
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
