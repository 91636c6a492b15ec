"""What `flask top` shows, as text in sections: one for the first line, tables for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.cli.text import clock, lasting, plural, rate, size
from app.console_data import ConsoleData
from workers.figures.figures import ProcessFigures, WorkerFigures
from workers.overview.verdict import is_silent

_BARS = " ▁▂▃▄▅▆▇█"
WEEK = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table: its title, its columns (`>` before the name of one that is aligned right), rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def first_lines(data: ConsoleData) -> list[str]:
    """Return the answer to the first question, since when, why, and what else to look at."""
    verdict = data.verdict
    found = [verdict.text]
    if verdict.since is not None and verdict.state != "ok":
        age = lasting(data.at - verdict.since)
        found.append(f"The oldest came at {clock(verdict.since)}, {age} ago.")
    return [*found, *([verdict.why] if verdict.why else []), *verdict.notes]


def figures(data: ConsoleData) -> Section:
    """Return the figures of the first row."""
    space = data.space
    filling = "not growing"
    if space.full_in_seconds is not None:
        full = space.full_in_seconds
        filling = "full in " + ("over a week" if full > WEEK else lasting(full))
    alive = [each for each in data.processes if not _is_gone(each, data)]
    idle = sum(worker.work is None for each in alive for worker in each.workers)
    workers = sum(len(each.workers) for each in alive)
    queued = f"{data.queued:,} of {data.max_queue:,}"
    if data.ready is not None:
        queued = f"{data.ready:,} ready, {queued} taken"
    return Section(
        title="",
        columns=["Accepted/s", "Stored/s", "Refused/s", "Pending", "Held", "Queue", "Idle workers"],
        rows=[
            [
                rate(data.rates.accepted),
                rate(data.rates.stored),
                rate(data.rates.refused),
                f"{data.pending:,}",
                f"{size(space.held_bytes)} of {size(space.max_bytes)}, {filling}",
                queued,
                f"{idle} of {workers}",
            ]
        ],
    )


def chart(values: Sequence[float], width: int) -> str:
    """Return ten minutes of a rate in bars, `width` wide; each is the mean of its time."""
    if not values:
        return ""
    width = min(width, len(values))
    bounds = [len(values) * n // width for n in range(width + 1)]
    means = [sum(values[a:b]) / max(1, b - a) for a, b in pairwise(bounds)]
    top = max(means) or 1.0
    return "".join(_BARS[round(mean / top * (len(_BARS) - 1))] for mean in means)


def tables(data: ConsoleData, *, rows: int) -> list[Section]:
    """Return the tables that have something in them, each with at most `rows` rows."""
    found = [_causes(data), _letters(data), _quarantine(data), _processes(data), _streams(data)]
    found += [_partitions(data), _keys(data), _objects(data)]
    return [
        Section(title=each.title, columns=each.columns, rows=each.rows[:rows])
        for each in found
        if each.rows
    ]


def _causes(data: ConsoleData) -> Section:
    return Section(
        title="What fails now",
        columns=["What", "Reason", "Since", ">Tries", ">Waiting", "Last error"],
        rows=[
            [
                " ".join(cause.key),
                cause.reason,
                clock(cause.since),
                f"{cause.failures:,}",
                f"{cause.waiting:,}",
                cause.error,
            ]
            for cause in data.causes
        ],
    )


def _letters(data: ConsoleData) -> Section:
    rows = [[each.name, each.stream or "?", each.reason] for each in data.dead_letters.newest]
    title = f"Dead letters: {data.dead_letters.count:,}"
    return Section(title=title, columns=["Segment", "Stream", "Reason"], rows=rows)


def _quarantine(data: ConsoleData) -> Section:
    rows = [[each.name, each.reason] for each in data.quarantine.newest]
    return Section(
        title=f"Quarantine: {data.quarantine.count:,}", columns=["File", "Reason"], rows=rows
    )


def _processes(data: ConsoleData) -> Section:
    """Return the processes; with their machines where those share a queue."""
    rows = []
    for process in data.processes:
        state = _state(process, now=data.at)
        rows.append([process.machine, str(process.pid), clock(process.started_at), state, ""])
        if not _is_gone(process, data):
            busy = (worker for worker in process.workers if worker.work is not None)
            rows += [["", *_worker(worker)] for worker in busy]
    columns = ["Machine", ">Pid", "Since", "Doing", "Last error"]
    if data.ready is None:
        columns, rows = columns[1:], [row[1:] for row in rows]
    return Section(title="Processes", columns=columns, rows=rows)


def _is_gone(process: ProcessFigures, data: ConsoleData) -> bool:
    """Whether a process is in no sum: of another machine nothing else says that it has ended."""
    return data.ready is not None and is_silent(process, now=data.at)


def _state(process: ProcessFigures, *, now: float) -> str:
    if is_silent(process, now=now):
        return f"nothing new for {lasting(now - process.written_at)}"
    if process.refusal:
        return process.refusal
    if process.role == "web":
        return "accepts"
    idle = sum(worker.work is None for worker in process.workers)
    return f"{idle} of {len(process.workers)} workers idle"


def _worker(worker: WorkerFigures) -> list[str]:
    work = worker.work
    assert work is not None
    payloads = plural(work.payloads, "payload")
    doing = f"{worker.name}: {payloads} of {work.stream}, attempt {work.attempt}"
    error = worker.last_failure.error if worker.last_failure else ""
    return ["", clock(work.since), doing, error]


def _streams(data: ConsoleData) -> Section:
    return Section(
        title="Streams",
        columns=["Stream", ">Payloads/s", ">Bytes/s", ">Open", ">Payloads in it", ">Bytes in it"],
        rows=[
            [
                each.stream,
                rate(each.payloads_per_second),
                size(each.bytes_per_second),
                f"{each.open_segments:,}",
                f"{each.open_payloads:,}",
                size(each.open_size),
            ]
            for each in data.streams
        ],
    )


def _partitions(data: ConsoleData) -> Section:
    rows = [
        [
            f"{each.open_payloads:,}",
            size(each.open_size),
            lasting(data.at - each.open_since),
            f"{stream.stream}/{each.values}",
        ]
        for stream in data.streams
        for each in stream.partitions
    ]
    columns = [">Payloads in it", ">Bytes in it", ">Open for", "Partition"]
    return Section(title="Open partitions", columns=columns, rows=rows)


def _keys(data: ConsoleData) -> Section:
    rows = [
        [
            each.name,
            f"{each.requests:,}",
            size(each.bytes),
            ", ".join(f"{status}: {count:,}" for status, count in each.refused.items()),
        ]
        for each in data.keys or []
    ]
    return Section(title="Keys", columns=["Key", ">Requests", ">Bytes", "Refused"], rows=rows)


def _objects(data: ConsoleData) -> Section:
    return Section(
        title="Last objects",
        columns=["Stored at", ">Payloads", ">In S3", "Key"],
        rows=[
            [clock(each.at), f"{each.payloads:,}", size(each.stored_size), each.key]
            for each in data.objects
        ],
    )
