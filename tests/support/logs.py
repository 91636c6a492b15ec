"""The service's log, as a test reads it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Logs:
    """The log so far: the lines that are JSON objects, and the others as they are."""

    events: list[dict[str, Any]]
    raw: list[str]


def read_logs(path: Path) -> Logs:
    """Read a log from its beginning, earlier starts included."""
    logs = Logs([], [])
    for line in path.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict):
            logs.events.append(event)
        else:
            logs.raw.append(line)
    return logs
