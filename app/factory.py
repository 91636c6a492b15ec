"""The application factory. Knows the pipeline; the pipeline does not know it."""

from collections.abc import Callable, Sequence
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
from workers.pipeline import Pipeline
from workers.queue_settings import QUEUE
from workers.settings import Settings, read_secret
from workers.spool.counters import Field

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

    gate = open_gate(settings)
    app.extensions[KEY] = State(
        settings=settings,
        handler=IngestHandler(settings, pipeline=pipeline),
        entrance=Entrance(gate),
        body_memory=BodyMemory(limit=body_memory_bytes(settings)),
        finisher=Finisher(count),
        probes=Probes(pipeline),
        pipeline=pipeline,
    )
    register_request_ids(app)
    register_errors(app)
    register_access(app, takes_payloads=settings.role != "worker")
    for route in routes_of(settings):
        app.register_blueprint(route.blueprint)
    for command in cli.COMMANDS:
        app.cli.add_command(command)
    return app


def routes_of(settings: Settings) -> Sequence[Any]:
    """Return the modules of the routes that a process of this role has."""
    if settings.role == "worker":
        return (status, metrics)
    # What the console shows is in `SPOOL_DIR`, which a queue does without.
    consoles = () if settings.durability == QUEUE else (console,)
    return (payloads, receipts, status, metrics, openapi, *consoles)


def body_memory_bytes(settings: Settings) -> int:
    """Return how many bytes of bodies may be arriving: two of the largest, and many small ones."""
    return SMALL_BODIES_BYTES + 2 * settings.max_body_bytes


def open_gate(settings: Settings) -> Gate | None:
    """Read the access file; None where there is none, and everything is open. Blocks on the disk.

    Raises:
        SettingsError: the file is wrong; all mistakes, a line each.
    """
    if settings.access_file is None:
        return None
    file = AccessFile(settings.access_file, secret=read_secret)
    return Gate(file, usage=lambda: UsageFiles(settings.spool_dir / "usage"))
