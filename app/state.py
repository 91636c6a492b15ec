"""What the application holds for its requests, behind one typed accessor."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, current_app

from app.http.body_memory import BodyMemory
from app.http.responses import Finisher
from app.ingest.arrival import Entrance
from app.ingest.handler import IngestHandler
from app.probes import Probes
from workers.operate.dead_letters import DeadLetters
from workers.operate.queued_dead_letters import QueuedDeadLetters
from workers.overview.seen import Seen
from workers.pipeline import Pipeline
from workers.settings.settings import Settings

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
    # What the console and `flask top` show; blocks on the disk, or on the network.
    sight: Callable[[], Seen]
    letters: Callable[[], DeadLetters | QueuedDeadLetters]


def state() -> State:
    """Return the current application's parts."""
    return state_of(current_app)


def state_of(app: Flask) -> State:
    """Return an application's parts."""
    found: State = app.extensions[KEY]
    return found
