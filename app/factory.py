"""The front door: an application factory. Knows the pipeline; the pipeline does not know it."""

from collections.abc import Callable

from flask import Flask

from app.cli import commands as cli
from app.http.flask_hooks import register_errors, register_request_ids
from app.ingest.fast_path import FastPath
from app.ingest.handler import LARGE_BODY_BYTES, IngestHandler
from app.routes import metrics, payloads, receipts, status
from app.servers.wsgi import FastPathMiddleware
from app.state import KEY, State
from workers.pipeline import Pipeline
from workers.settings import Settings


def create_app(settings: Settings, *, pipeline: Callable[[], Pipeline]) -> Flask:
    """Make the WSGI application. `pipeline` returns this process's, started; it may be lazy.

    Raises:
        SettingsError: `PAYLOAD_SCHEMA` names no schema.
    """
    app = Flask("app", static_folder=None)
    # A redirect would be an HTML page, and lose a POST's body.
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    handler = IngestHandler(settings, pipeline=pipeline)
    fast_path = FastPath(handler, largest=min(LARGE_BODY_BYTES, settings.max_body_bytes))
    app.extensions[KEY] = State(
        settings=settings, handler=handler, fast_path=fast_path, pipeline=pipeline
    )
    register_request_ids(app)
    register_errors(app)
    for blueprint in (payloads.blueprint, receipts.blueprint, status.blueprint, metrics.blueprint):
        app.register_blueprint(blueprint)
    for command in cli.COMMANDS:
        app.cli.add_command(command)
    app.wsgi_app = FastPathMiddleware(app.wsgi_app, fast_path=fast_path)  # type: ignore[method-assign]
    return app
