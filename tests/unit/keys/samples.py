"""A request with a key, as the handler makes it of its body; and the end of a process."""

import contextlib
from hashlib import sha256

from tests.support.bench import Bench
from workers.keys.claim import Claim, Replay
from workers.keys.records import digest_of
from workers.segments.future import DurabilityFuture

LINES = b'{"n":1}\n{"n":2}\n{"n":3}\n'


def claim(bench: Bench, key: str, body: bytes = LINES, *, compare: bool = True) -> Claim | Replay:
    """Claim a key for a body."""
    return bench.keys.claim(digest_of("k", key), sha256(body).digest(), compare=compare)


def take(bench: Bench, key: str, lines: bytes = LINES, *, stream: str = "s") -> DurabilityFuture:
    """Take a collection with a key that is not accepted yet."""
    claimed = claim(bench, key, lines)
    assert isinstance(claimed, Claim)
    return bench.intake.take(stream, lines, count=lines.count(b"\n"), claim=claimed)


def places(bench: Bench, key: str, lines: bytes = LINES) -> list[tuple[str, int, int]] | None:
    """Return where a key's payloads are: object, first line, count; None if it is not accepted."""
    claimed = claim(bench, key, lines)
    if isinstance(claimed, Claim):
        claimed.release()
        return None
    return [(entry.header.key, entry.first_line, entry.count) for entry in claimed.entries]


def given(future: DurabilityFuture) -> list[tuple[str, int, int]]:
    """Return what the first answer said."""
    return [(each.header.key, each.first_line, each.count) for each in future.result()]


def kill(bench: Bench) -> None:
    """End a process as kill -9 does: its files are closed, and its locks are free."""
    known = bench.keys._known
    if known is not None:
        for each in (known.own, known.recovered):
            each.close()
        known.shared.close()  # type: ignore[attr-defined]
    bench.die()


class Killed(BaseException):
    """The process ends here."""


def kill_within(
    bench: Bench, method: str, *, key: str, lines: bytes = LINES, done: bool = False
) -> None:
    """Take a request, and kill the process as it calls a method of its `Keys`, or has `done` so."""
    called = getattr(bench.keys, method)

    def ends(*args: object, **kwargs: object) -> None:
        if done:
            called(*args, **kwargs)
        raise Killed

    setattr(bench.keys, method, ends)
    with contextlib.suppress(Killed):
        take(bench, key, lines)
    kill(bench)
