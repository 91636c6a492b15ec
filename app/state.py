"""What the application holds for its requests, behind one typed accessor."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app

from app.front_door import FrontDoor
from workers.pipeline import Pipeline
from workers.settings import Settings

KEY = "bucket-brigade"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The parts that routes and commands use."""

    settings: Settings
    front_door: FrontDoor
    pipeline: Callable[[], Pipeline]


def state() -> State:
    """Return the current application's parts."""
    found: State = current_app.extensions[KEY]
    return found
