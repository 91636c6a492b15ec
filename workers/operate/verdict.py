"""The first line that an operator reads: is everything in S3, and if not, since when and why."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from workers.dispatch.activity import Failure
from workers.figures.figures import CauseFigures, ProcessFigures
from workers.settings import Settings
from workers.spool.counters import Field, Totals

# A process writes its figures every second; one that has not for so long hangs.
HANGS_SECONDS = 10.0
# What a segment may take beyond its age before it is late: a PUT, and a second one.
GRACE_SECONDS = 5.0
WITH_SPOOL = ("disk", "memory")
NOT_SHOWN = "processes, streams, objects and dead letters are not shown here"
IN_WORDS = {
    "network": "it cannot be reached",
    "server": "it fails",
    "throttled": "it asks us to slow down",
    "bucket": "there is something wrong with the bucket",
    "denied": "it denies access",
    "disk": "it has them, and the disk does not let them go",
}

State = Literal["ok", "late", "refusing"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`ok`, `late` (something fails or takes too long) or `refusing`, and a sentence.

    `since` is the creation of the oldest payloads that are not in S3, in seconds since 1970; `why`
    the last error. `notes` are sentences on what else an operator should see.
    """

    state: State
    text: str
    since: float | None
    why: str | None
    notes: list[str]


def judge(
    settings: Settings,
    totals: Totals,
    processes: Sequence[ProcessFigures],
    causes: Sequence[CauseFigures],
    *,
    letters: int,
    now: float,
) -> Verdict:
    """Judge a service by its sums, what its processes show, what fails, and its dead letters."""
    oldest = totals.oldest_microseconds / 1e6 or None
    late_after = settings.object_max_age_seconds + settings.s3_read_timeout_seconds + GRACE_SECONDS
    is_late = oldest is not None and now - oldest > late_after
    has_spool = settings.durability in WITH_SPOOL
    state, text = _first_line(
        totals, processes, causes, is_late=is_late, letters=letters, has_spool=has_spool
    )
    why = causes[0].error if causes else _last_error(processes, since=oldest)
    return Verdict(
        state=state,
        text=text,
        since=oldest,
        why=None if state == "ok" else why,
        notes=[
            *([] if has_spool else [f"With DURABILITY={settings.durability} {NOT_SHOWN}."]),
            *_notes(totals, processes, letters=letters, now=now),
        ],
    )


def _first_line(
    totals: Totals,
    processes: Sequence[ProcessFigures],
    causes: Sequence[CauseFigures],
    *,
    is_late: bool,
    letters: int,
    has_spool: bool,
) -> tuple[State, str]:
    refusals = [each.refusal for each in processes if each.refusal]
    if not processes and has_spool:
        return "refusing", "No process of the service is running."
    if refusals:
        some = f" by {len(refusals)} of {len(processes)} processes"
        some = "" if len(refusals) == len(processes) else some
        return "refusing", f"Payloads are refused{some}: {refusals[0]}."
    if causes and totals.pending:
        reason = IN_WORDS.get(causes[0].reason, "it does not take them")
        return "late", f"{_are(totals.pending)} not in S3: {reason}."
    if is_late:
        return "late", f"{_are(totals.pending)} not in S3, longer than usual."
    if totals.pending:
        return "ok", f"Nothing is late: {_are(totals.pending)} on the way to S3."
    if totals[Field.ACCEPTED]:
        return (
            "ok",
            "Everything is in S3, but for dead letters." if letters else "Everything is in S3.",
        )
    return "ok", "Nothing has been accepted yet."


def _notes(
    totals: Totals, processes: Sequence[ProcessFigures], *, letters: int, now: float
) -> list[str]:
    notes = []
    if letters:
        notes.append(
            "There is a dead letter." if letters == 1 else f"There are {letters:,} dead letters."
        )
    notes += [
        f"Process {each.pid} has shown nothing new for {HANGS_SECONDS:.0f} seconds: it hangs."
        for each in processes
        if now - each.written_at > HANGS_SECONDS
    ]
    if totals.unreadable:
        notes.append(
            f"{totals.unreadable} entries of the spool cannot be read, and are in no figure."
        )
    return notes


def _last_error(processes: Sequence[ProcessFigures], *, since: float | None) -> str | None:
    """Return the last error of an upload since the oldest payloads came."""
    failures = [
        worker.last_failure
        for process in processes
        for worker in process.workers
        if isinstance(worker.last_failure, Failure) and worker.last_failure.at >= (since or 0)
    ]
    return max(failures, key=lambda failure: failure.at).error if failures else None


def _are(payloads: int) -> str:
    return "1 payload is" if payloads == 1 else f"{payloads:,} payloads are"
