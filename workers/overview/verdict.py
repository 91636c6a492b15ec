"""The first line that an operator reads: is everything in S3, and if not, since when and why."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from workers.dispatch.activity import Failure
from workers.figures.figures import CauseFigures, ProcessFigures
from workers.overview.seen import Seen
from workers.settings.settings import Settings
from workers.spool.counters import Field

# A process writes its figures every second; one that has not for so long hangs.
HANGS_SECONDS = 10.0
# What a segment may take beyond its age before it is late: a PUT, and a second one.
GRACE_SECONDS = 5.0
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
    seen: Seen,
    *,
    alive: Sequence[ProcessFigures],
    causes: Sequence[CauseFigures],
    now: float,
) -> Verdict:
    """Judge a service by what is seen of it, the processes that are alive, and what fails."""
    oldest = seen.totals.oldest_microseconds / 1e6 or None
    late_after = settings.object_max_age_seconds + settings.s3_read_timeout_seconds + GRACE_SECONDS
    is_late = oldest is not None and now - oldest > late_after
    state, text = _first_line(seen, alive, causes, is_late=is_late)
    why = causes[0].error if causes else _last_error(alive, since=oldest)
    return Verdict(
        state=state,
        text=text,
        since=oldest,
        why=None if state == "ok" else why,
        notes=_notes(seen, now=now),
    )


def is_silent(process: ProcessFigures, *, now: float) -> bool:
    """Whether a process has shown nothing new for `HANGS_SECONDS`."""
    return now - process.written_at > HANGS_SECONDS


def _first_line(
    seen: Seen,
    alive: Sequence[ProcessFigures],
    causes: Sequence[CauseFigures],
    *,
    is_late: bool,
) -> tuple[State, str]:
    pending = seen.totals.pending
    if not alive:
        return "refusing", "No process of the service is running."
    accepting = [each for each in alive if each.role != "worker"]
    if not accepting:
        return "refusing", "No process that accepts payloads is running."
    refusals = [each.refusal for each in accepting if each.refusal]
    if refusals:
        some = f" by {len(refusals)} of {len(accepting)} processes"
        some = "" if len(refusals) == len(accepting) else some
        return "refusing", f"Payloads are refused{some}: {refusals[0]}."
    if pending and all(each.role == "web" for each in alive):
        return "late", f"{_are(pending)} not in S3: no process that uploads is running."
    if causes and pending:
        reason = IN_WORDS.get(causes[0].reason, "it does not take them")
        return "late", f"{_are(pending)} not in S3: {reason}."
    if is_late:
        return "late", f"{_are(pending)} not in S3, longer than usual."
    return "ok", _all_well(seen)


def _all_well(seen: Seen) -> str:
    if seen.totals.pending:
        return f"Nothing is late: {_are(seen.totals.pending)} on the way to S3."
    if not seen.totals[Field.ACCEPTED]:
        return "Nothing has been accepted yet."
    left = ["dead letters"] if seen.dead_letters.count else []
    left += ["what damaged files may have lost"] if seen.quarantine.count else []
    return f"Everything is in S3, but for {' and '.join(left)}." if left else "Everything is in S3."


def _notes(seen: Seen, *, now: float) -> list[str]:
    notes, letters = [], seen.dead_letters.count
    if letters:
        notes.append(
            "There is a dead letter." if letters == 1 else f"There are {letters:,} dead letters."
        )
    if damaged := seen.quarantine.count:
        notes.append(
            "A damaged file is in quarantine."
            if damaged == 1
            else f"{damaged:,} damaged files are in quarantine."
        )
    for each in seen.processes:
        if is_silent(each, now=now):
            shown = f"has shown nothing new for {HANGS_SECONDS:.0f} seconds"
            notes.append(
                f"Process {each.pid} {shown}: it hangs."
                if seen.ready is None
                else f"Process {each.pid} of {each.machine} {shown}: it hangs, or is gone."
            )
    if seen.totals.unreadable:
        notes.append(
            f"{seen.totals.unreadable} entries of the spool cannot be read, and are in no figure."
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
