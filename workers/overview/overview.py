"""The whole service at a glance, as the console and `flask top` show it.

Made of what the processes show, the counters and what the spool or the queue keeps; asks no
process, and not S3. Times are seconds since 1970, sizes bytes.
"""

import heapq
import time
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from workers.figures.collector import MAX_PARTITIONS_SHOWN
from workers.figures.figures import (
    CauseFigures,
    PartitionFigures,
    ProcessFigures,
    StoredFigures,
    StreamFigures,
)
from workers.figures.history import Moment
from workers.overview.kept import Kept
from workers.overview.seen import Seen
from workers.overview.verdict import Verdict, is_silent, judge
from workers.settings.settings import Settings
from workers.spool.counters import Field

RATE_SECONDS, TREND_SECONDS = 10.0, 20.0
MAX_STREAMS = 200


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Payloads per second, and refused requests per second, over the last ten seconds."""

    accepted: float
    stored: float
    refused: float


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of payloads that are not in S3, and their bound.

    `full_in_seconds` is by how they grew in the last 20 seconds; None where they do not grow.
    """

    held_bytes: int
    max_bytes: int
    full_in_seconds: float | None


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """The last ten minutes, oldest first: moments, rates per second up to each, and what waits."""

    at: list[float]
    accepted: list[float]
    stored: list[float]
    refused: list[float]
    pending: list[int]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `oldest_unstored_at` is None where nothing is pending.

    `ready` segments in a queue that machines share wait for a worker; None without one.
    """

    at: float
    verdict: Verdict
    durability: str
    bucket: str
    accepted: int
    stored: int
    pending: int
    dead: int
    oldest_unstored_at: float | None
    rates: Rates
    space: Space
    chart: Chart
    queued: int
    max_queue: int
    ready: int | None
    processes: list[ProcessFigures]
    streams: list[StreamFigures]
    causes: list[CauseFigures]
    objects: list[StoredFigures]
    dead_letters: Kept
    quarantine: Kept


def look(settings: Settings, seen: Seen) -> Overview:
    """Return how the service is by what was seen of it now."""
    now, totals = time.time(), seen.totals
    # One whose machine is gone is shown for a while, and in no sum.
    alive = [each for each in seen.processes if seen.ready is None or not is_silent(each, now=now)]
    causes = _causes(alive)
    return Overview(
        at=now,
        verdict=judge(settings, seen, alive=alive, causes=causes, now=now),
        durability=settings.durability,
        bucket=settings.s3_bucket,
        accepted=totals[Field.ACCEPTED],
        stored=totals[Field.STORED],
        pending=totals.pending,
        dead=totals[Field.DEAD],
        oldest_unstored_at=totals.oldest_microseconds / 1e6 or None,
        rates=_rates(seen.moments, now=now),
        space=_space(seen, max_bytes=_max_bytes(settings, seen)),
        chart=_chart(seen.moments),
        queued=sum(each.queued for each in alive),
        max_queue=sum(each.max_queue for each in alive),
        ready=seen.ready,
        processes=seen.processes,
        streams=_streams(alive),
        causes=causes,
        objects=seen.objects,
        dead_letters=seen.dead_letters,
        quarantine=seen.quarantine,
    )


def _rates(moments: Sequence[Moment], *, now: float) -> Rates:
    recent = [moment for moment in moments if moment.at > now - RATE_SECONDS - 1]
    chart = _chart([recent[0], recent[-1]] if len(recent) > 1 else [])
    if not chart.at:
        return Rates(accepted=0.0, stored=0.0, refused=0.0)
    return Rates(accepted=chart.accepted[0], stored=chart.stored[0], refused=chart.refused[0])


def _chart(moments: Sequence[Moment]) -> Chart:
    """Return the rates between each moment and the next. Counts that fell began anew: zero."""
    chart = Chart(at=[], accepted=[], stored=[], refused=[], pending=[])
    for before, moment in pairwise(moments):
        seconds = max(moment.at - before.at, 0.001)
        chart.at.append(moment.at)
        for name in ("accepted", "stored", "refused"):
            grown = max(0, getattr(moment, name) - getattr(before, name))
            getattr(chart, name).append(round(grown / seconds, 2))
        chart.pending.append(moment.pending)
    return chart


def _max_bytes(settings: Settings, seen: Seen) -> int:
    """Return the bound of what is held: each process's own where it is held in memory."""
    if seen.max_bytes is None:
        return settings.memory_max_bytes * max(1, len(seen.processes))
    return seen.max_bytes


def _space(seen: Seen, *, max_bytes: int) -> Space:
    moments, held = seen.moments, seen.totals[Field.HELD_BYTES]
    full = None
    if len(moments) > 1:
        last = moments[-1]
        first = next(each for each in moments if each.at >= last.at - TREND_SECONDS)
        grown = last.held_bytes - first.held_bytes
        if grown > 0 and last.at > first.at:
            full = max(0.0, (max_bytes - held) * (last.at - first.at) / grown)
    return Space(held_bytes=held, max_bytes=max_bytes, full_in_seconds=full)


def _streams(processes: Sequence[ProcessFigures]) -> list[StreamFigures]:
    """Add streams up over processes; return those with the highest rates."""
    found: dict[str, list[StreamFigures]] = {}
    for process in processes:
        for stream in process.streams:
            found.setdefault(stream.stream, []).append(stream)
    added = [
        StreamFigures(
            stream=name,
            open_segments=sum(each.open_segments for each in parts),
            open_payloads=sum(each.open_payloads for each in parts),
            open_size=sum(each.open_size for each in parts),
            open_since=min((each.open_since for each in parts if each.open_since), default=None),
            payloads_per_second=sum(each.payloads_per_second for each in parts),
            bytes_per_second=sum(each.bytes_per_second for each in parts),
            partitions=_partitions(parts),
        )
        for name, parts in found.items()
    ]
    added.sort(key=lambda each: (-each.payloads_per_second, each.stream))
    return added[:MAX_STREAMS]


def _partitions(streams: Sequence[StreamFigures]) -> list[PartitionFigures]:
    """Add the partitions of a stream up over processes; return those with the most bytes."""
    found: dict[str, PartitionFigures] = {}
    for each in (partition for stream in streams for partition in stream.partitions):
        before = found.get(each.values)
        found[each.values] = (
            each
            if before is None
            else PartitionFigures(
                values=each.values,
                open_payloads=each.open_payloads + before.open_payloads,
                open_size=each.open_size + before.open_size,
                open_since=min(each.open_since, before.open_since),
            )
        )
    return heapq.nlargest(MAX_PARTITIONS_SHOWN, found.values(), key=lambda each: each.open_size)


def _causes(processes: Sequence[ProcessFigures]) -> list[CauseFigures]:
    """Put together what several processes fail for: since the first, with the last error."""
    found: dict[tuple[str, ...], CauseFigures] = {}
    for cause in sorted((c for each in processes for c in each.causes), key=lambda c: c.since):
        before = found.get(cause.key)
        if before is not None:
            cause = msgspec.structs.replace(  # noqa: PLW2901 (what is kept of both)
                cause,
                since=before.since,
                failures=before.failures + cause.failures,
                waiting=before.waiting + cause.waiting,
                next_try_seconds=min(before.next_try_seconds, cause.next_try_seconds),
            )
        found[cause.key] = cause
    return list(found.values())
