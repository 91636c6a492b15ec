"""The order of locks in docs/design.md is the order in which a running pipeline takes them."""

import re
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import pytest

from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from workers.errors import Refusal
from workers.pipeline import Pipeline

PAGE = (Path(__file__).resolve().parents[3] / "docs/design.md").read_text()
TABLE = PAGE.partition("\n## Locks\n")[2].partition("\n## ")[0]
# Classes with a lock by the row of the table that they are in; the last row has the leaves.
ROWS = [re.findall(r"`(\w+)\._\w+`", line) for line in TABLE.splitlines() if line.startswith("| `")]
RANK = {owner: rank for rank, row in enumerate(ROWS) for owner in row}
# Collections, over more streams than may be open and more segments than the queue has room for.
COLLECTIONS = 400


class WatchedLock:
    """A lock that notes which others its thread held when it was taken."""

    taken_under: ClassVar[defaultdict[str, set[str]]] = defaultdict(set)
    held = threading.local()

    def __init__(self, lock: Any, owner: str) -> None:
        self._lock = lock
        self._owner = owner

    def acquire(self, *arguments: Any) -> bool:
        """Take the lock."""
        taken: bool = self._lock.acquire(*arguments)
        if taken:
            held = self.held.__dict__.setdefault("owners", [])
            self.taken_under[self._owner].update(held)
            held.append(self._owner)
        return taken

    def release(self) -> None:
        """Release it."""
        # Another thread may, and had it in its own list.
        held = self.held.__dict__.setdefault("owners", [])
        if self._owner in held:
            held.remove(self._owner)
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@pytest.fixture
def taken_under(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Watch the locks that objects of `workers` make in their constructors; return what is seen."""
    make = threading.Lock

    def watched() -> Any:
        caller = sys._getframe(1)
        owner = type(caller.f_locals.get("self")).__name__
        return WatchedLock(make(), owner) if owner in RANK else make()

    monkeypatch.setattr(threading, "Lock", watched)
    monkeypatch.setattr(WatchedLock, "taken_under", defaultdict(set))
    return WatchedLock.taken_under


def load(pipeline: Pipeline) -> None:
    """Send collections in two threads, and ask for figures meanwhile."""

    def send() -> None:
        for number in range(COLLECTIONS):
            try:
                pipeline.take(f"s{number % 5}", b"{}\n", count=1, callback=lambda _: None)
            except Refusal:
                pipeline.totals()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_locks_are_taken_in_the_order_of_the_table(
    tmp_path: Path, taken_under: dict[str, set[str]], durability: str
) -> None:
    """From start to stop, each lock is taken under locks of rows above its own only."""
    settings = settings_for(
        tmp_path, DURABILITY=durability, OBJECT_MAX_PAYLOADS=20, MAX_STREAMS=3, MAX_QUEUE=4
    )
    pipeline = Pipeline(settings, bucket=DictBucket())
    pipeline.start()
    load(pipeline)
    pipeline.stop()

    # The watch works: these are taken by any segment.
    assert "Intake" in taken_under["ProcessSpool"]
    for inner, outers in taken_under.items():
        assert all(RANK[outer] < RANK[inner] for outer in outers), (inner, outers)
