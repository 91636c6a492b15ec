"""Waiting for segments that were accepted before: a retry with an idempotency key may want to."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from workers.segments.finish import Finish, Finishes, Wait
from workers.stores.found import Found


@dataclass(frozen=True, slots=True)
class AwaitedParts:
    """What it takes: the process's waits, how a segment is looked up, how it is sealed soon."""

    finishes: Finishes
    look: Callable[[str], Found | None] = field(kw_only=True)
    hasten: Callable[[Collection[str]], None] = field(kw_only=True)

    def is_stored(self, name: str) -> bool:
        """Whether a segment that this machine accepted is in S3: it leaves the spool then only."""
        found = self.look(name)
        return found is None or found.state == "stored"


def await_stored(
    parts: AwaitedParts,
    names: Collection[str],
    *,
    seconds: float,
    callback: Callable[[Finish], None],
) -> None:
    """Wait until all of these segments are stored. Blocks on the disk only.

    `callback` is called once, now or in another thread. Of a segment that another process has, it
    is seen when the time is over.
    """

    def ended(finish: Finish) -> None:
        callback(Finish.STORED if all(map(parts.is_stored, names)) else finish)

    wait = Wait(seconds, ended)
    if not parts.finishes.add(wait, names):
        wait.end(Finish.NOT_AWAITED)
        return
    parts.hasten(names)
    # What was stored before the wait began ends no wait by itself.
    for name in filter(parts.is_stored, names):
        parts.finishes.finish(name, stored=True)
