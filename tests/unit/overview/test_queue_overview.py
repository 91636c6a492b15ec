"""The overview of machines that share a queue: who is in it, and what is said of whom."""

import time
from pathlib import Path

import msgspec

from tests.support.bench import settings_for
from tests.support.figures import cause, process, stored
from workers.figures.figures import CauseFigures, ProcessFigures, StreamFigures, WorkerFigures
from workers.overview.kept import Kept
from workers.overview.overview import Overview, look
from workers.overview.seen import Seen
from workers.settings.settings import Settings
from workers.spool.counters import Counters, Field, Totals

NONE = Kept(count=0, newest=[])
STREAM = StreamFigures(
    stream="s",
    open_segments=1,
    open_payloads=10,
    open_size=100,
    open_since=None,
    payloads_per_second=2.0,
    bytes_per_second=20.0,
)


def settings(root: Path) -> Settings:
    """Make settings of a web process."""
    return settings_for(
        root, DURABILITY="queue", QUEUE_URL="redis://h", RECEIPT_SECRET="s", ROLE="web"
    )


def seen(*processes: ProcessFigures, pending: int = 0) -> Seen:
    """Make what is seen of a queue with so many payloads."""
    cells = Counters.anonymous().snapshot()
    cells[Field.ACCEPTED] = pending
    cells[Field.HELD_BYTES] = 300
    return Seen(
        totals=Totals([cells]),
        processes=list(processes),
        objects=[stored(1)],
        moments=[],
        dead_letters=NONE,
        quarantine=NONE,
        max_bytes=1000,
        ready=3,
    )


def running(role: str, *causes: CauseFigures, **given: object) -> ProcessFigures:
    """Make a process that has just written."""
    worker = WorkerFigures(name="worker-1", work=None, last_failure=None)
    workers = [] if role == "web" else [worker]
    about = {"role": role, "workers": workers, "written_at": time.time(), **given}
    return process(*causes, **about)


def test_the_queue_has_one_bound(tmp_path: Path) -> None:
    """What is held is held against the queue's bound; segments wait in it for workers."""
    found = look(settings(tmp_path), seen(running("web"), running("worker"), pending=2))
    assert (found.space.held_bytes, found.space.max_bytes, found.ready) == (300, 1000, 3)
    assert found.verdict.text == "Nothing is late: 2 payloads are on the way to S3."
    assert [each.at for each in found.objects] == [1.0]


def test_a_machine_that_is_gone_is_in_no_sum(tmp_path: Path) -> None:
    """It is shown, and named, with what it showed last; nothing else is judged by it."""
    gone = running(
        "all",
        cause("network", "s3", "bucket"),
        machine="b",
        pid=7,
        written_at=time.time() - 20,
        streams=[STREAM],
        queued=5,
        refusal="stopping",
    )
    found = look(settings(tmp_path), seen(running("all"), gone, pending=1))
    assert found.verdict.state == "ok"
    assert found.verdict.notes == [
        "Process 7 of b has shown nothing new for 10 seconds: it hangs, or is gone."
    ]
    assert (found.streams, found.causes, found.queued) == ([], [], 0)
    assert len(found.processes) == 2


def said(root: Path, *processes: ProcessFigures, pending: int = 1) -> tuple[str, str]:
    """Return the first line on a service of these processes."""
    verdict = look(settings(root), seen(*processes, pending=pending)).verdict
    return verdict.state, verdict.text


def test_a_tier_without_processes_is_named(tmp_path: Path) -> None:
    """None that accepts is a refusal; none that uploads matters once something waits."""
    web, worker = running("web"), running("worker", refusal="stopping")
    assert said(tmp_path) == ("refusing", "No process of the service is running.")
    assert said(tmp_path, worker) == (
        "refusing",
        "No process that accepts payloads is running.",
    )
    assert said(tmp_path, web) == (
        "late",
        "1 payload is not in S3: no process that uploads is running.",
    )
    assert said(tmp_path, web, pending=0)[0] == "ok"
    # A worker refuses nothing.
    assert said(tmp_path, web, worker)[0] == "ok"


def test_every_member_is_json(tmp_path: Path) -> None:
    """What is shown can be written, and read again."""
    found = look(settings(tmp_path), seen(running("web", streams=[STREAM])))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Overview) == found
