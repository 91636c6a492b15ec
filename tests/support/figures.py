"""Figures of processes as tests need them: what is not given is at rest."""

import os
from typing import Any

import msgspec

from workers.figures.figures import CauseFigures, ProcessFigures, StoredFigures

REST = ProcessFigures(
    machine="machine",
    role="all",
    pid=os.getpid(),
    started_at=1000.0,
    written_at=1000.0,
    refusal=None,
    queued=0,
    max_queue=10,
    workers=[],
    streams=[],
    open_segments=0,
    parked={},
    causes=[],
    objects=[],
    keys={},
)


def process(*causes: CauseFigures, **given: Any) -> ProcessFigures:
    """Make a process's figures."""
    return msgspec.structs.replace(REST, causes=list(causes), **given)


def cause(reason: str, *key: str, **given: Any) -> CauseFigures:
    """Make a cause of the jobs that `key` says."""
    made = CauseFigures(
        key=key,
        reason=reason,
        since=1000.0,
        error=f"{reason} again",
        failures=1,
        waiting=0,
        next_try_seconds=1.0,
    )
    return msgspec.structs.replace(made, **given)


def stored(number: int, **given: Any) -> StoredFigures:
    """Make an object that was stored at second `number`."""
    made = StoredFigures(
        at=float(number),
        stream="s",
        segment=f"segment-{number}",
        bucket="bucket",
        key=f"s/segment-{number}.ndjson.gz",
        payloads=1,
        size=10,
        stored_size=5,
    )
    return msgspec.structs.replace(made, **given)
