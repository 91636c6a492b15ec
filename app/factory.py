"""The application factory. Knows the pipeline; the pipeline does not know it."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from flask import Flask

from app.access.gate import Gate
from app.access.usage_files import UsageFiles
from app.access.watched_file import AccessFile
from app.cli import commands as cli
from app.http.body_memory import BodyMemory
from app.http.responses import Finisher
from app.ingest.arrival import Entrance
from app.ingest.handler import IngestHandler
from app.probes import Probes
from app.routes import console, metrics, openapi, payloads, receipts, status
from app.routes.access import register_access
from app.routes.every_request import register_errors, register_request_ids
from app.state import KEY, State
from workers.overview.seen import Seen
from workers.pipeline import Pipeline
from workers.settings.queue import QUEUE, is_sqs
from workers.settings.settings import Settings, read_secret
from workers.spool.counters import Field
from workers.storage import open_dead_letters, open_sight

SMALL_BODIES_BYTES = 16 << 20


def create_app(settings: Settings, *, pipeline: Callable[[], Pipeline]) -> Flask:
    """Make the WSGI application. `pipeline` returns this process's, started; it may be lazy.

    Raises:
        SettingsError: `PAYLOAD_SCHEMA` names no schema, or the access file is wrong.
    """
    app = Flask("app", static_folder=None)
    # A redirect would be an HTML page, and lose a POST's body.
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False

    def count(field: Field, number: int) -> None:
        pipeline().counters.add(field, number)

    def show_keys(usage: UsageFiles) -> None:
        pipeline().figures.keys = usage.shared.own.totals

    gate = open_gate(settings, on_usage=show_keys)
    app.extensions[KEY] = State(
        settings=settings,
        handler=IngestHandler(settings, pipeline=pipeline),
        entrance=Entrance(gate),
        body_memory=BodyMemory(limit=body_memory_bytes(settings)),
        finisher=Finisher(count),
        probes=Probes(pipeline),
        pipeline=pipeline,
        sight=_sight_of(settings),
        letters=cache(lambda: open_dead_letters(settings, bucket=pipeline().bucket)),
    )
    register_request_ids(app)
    register_errors(app)
    register_access(app, takes_payloads=settings.role != "worker")
    for route in routes_of(settings):
        app.register_blueprint(route.blueprint)
    for command in cli.COMMANDS:
        app.cli.add_command(command)
    return app


def _sight_of(settings: Settings) -> Callable[[], Seen]:
    """Return what looks at the service; opened when it first does, as few commands need it."""
    opened = cache(partial(open_sight, settings))

    def look() -> Seen:
        look_now = opened()
        return look_now()

    return look


def routes_of(settings: Settings) -> Sequence[Any]:
    """Return the modules of the routes that a process of this role has."""
    if settings.role == "worker":
        return (status, metrics)
    # On SQS processes show themselves nowhere.
    consoles = () if is_sqs(settings.queue_url) else (console,)
    return (payloads, receipts, status, metrics, openapi, *consoles)


def body_memory_bytes(settings: Settings) -> int:
    """Return how many bytes of bodies may be arriving: two of the largest, and many small ones."""
    return SMALL_BODIES_BYTES + 2 * settings.max_body_bytes


def open_gate(
    settings: Settings, on_usage: Callable[[UsageFiles], None] = lambda _: None
) -> Gate | None:
    """Read the access file; None where there is none, and everything is open. Blocks on the disk.

    `on_usage` gets what this process counts of keys, where machines share a queue.

    Raises:
        SettingsError: the file is wrong; all mistakes, a line each.
    """
    if settings.access_file is None:
        return None
    file = AccessFile(settings.access_file, secret=read_secret)

    def make_usage() -> UsageFiles:
        usage = UsageFiles(settings.spool_dir / "usage")
        if settings.durability == QUEUE:
            on_usage(usage)
        return usage

    return Gate(file, usage=make_usage)
