"""What the application holds for its requests, behind one typed accessor."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, current_app

from app.http.body_memory import BodyMemory
from app.http.responses import Finisher
from app.ingest.arrival import Entrance
from app.ingest.handler import IngestHandler
from app.probes import Probes
from workers.pipeline import Pipeline
from workers.settings import Settings

KEY = "bucket-brigade"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The parts that routes and commands use."""

    settings: Settings
    handler: IngestHandler
    body_memory: BodyMemory
    entrance: Entrance
    finisher: Finisher
    probes: Probes
    pipeline: Callable[[], Pipeline]


def state() -> State:
    """Return the current application's parts."""
    return state_of(current_app)


def state_of(app: Flask) -> State:
    """Return an application's parts."""
    found: State = app.extensions[KEY]
    return found
