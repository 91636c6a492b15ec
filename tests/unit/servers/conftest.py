"""A router before a real pipeline whose threads do not run, and threads that wait for a test."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.access.gate import Gate
from app.http.body_memory import BodyMemory
from app.http.responses import Finisher
from app.ingest.arrival import Entrance
from app.ingest.handler import IngestHandler
from app.ingest.posts import Posts
from app.probes import Probes
from app.servers.granian.router import RequestRouter
from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from tests.unit.servers.engine import HeldTasks
from workers.pipeline import Pipeline
from workers.spool.counters import Field

MAX_BODY = 300_000
MAX_WAIT = 10.0


class Served:
    """A router and all around it."""

    def __init__(self, root: Path, *, gate: Gate | None = None, **environ: str) -> None:
        settings = settings_for(root, DURABILITY="memory", MAX_BODY_BYTES=MAX_BODY, **environ)
        self.pipeline = Pipeline(settings, bucket=DictBucket())
        self.counted: list[Any] = []
        self.memory = BodyMemory(limit=2 * MAX_BODY)
        self.tasks = SimpleNamespace(
            small=HeldTasks(),
            large=HeldTasks(),
            keyed=HeldTasks(),
            receipts=HeldTasks(),
            others=HeldTasks(),
        )
        self.handler = IngestHandler(settings, pipeline=lambda: self.pipeline)
        finisher = Finisher(self._count)
        self.router = RequestRouter(
            Posts(
                self.handler,
                finisher=finisher,
                small=self.tasks.small,
                large=self.tasks.large,
                keyed=self.tasks.keyed,
            ),
            entrance=Entrance(gate),
            finisher=finisher,
            probes=Probes(lambda: self.pipeline),
            memory=self.memory,
            receipts=self.tasks.receipts,
            others=self.tasks.others,
            wsgi=self._wsgi,
            limit=MAX_BODY,
            request_timeout=MAX_WAIT,
        )

    def _count(self, field: Field, number: int) -> None:
        self.counted += [field] * number

    def _wsgi(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("418 I'M A TEAPOT", [("X-Path", environ["PATH_INFO"])])
        return [environ["wsgi.input"].read()]

    @property
    def waiting(self) -> dict[str, int]:
        """How many tasks wait for which threads."""
        waiting = {name: len(tasks.waiting) for name, tasks in vars(self.tasks).items()}
        return {name: count for name, count in waiting.items() if count}


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Make a router."""
    return Served(tmp_path)
