"""One run of one contender: start it, load it, wait until everything is stored, kill it."""

import time
from dataclasses import dataclass

from benchmarks.harness.contenders import Contender
from benchmarks.harness.environment import Bench
from benchmarks.load.closed_loop import Demand

MIB = 1 << 20
MILLI, MICRO = 1e3, 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run of one contender. `None` where nothing was stored to divide by, or not measured."""

    contender: str
    payloads_per_request: int
    # How bodies came: `plain`, or one of `forms`.
    form: str = "plain"
    round: int = 0
    requests_per_second: float | None = None
    accepted_per_second: float | None = None
    stored_per_second: float | None = None
    cpu_us_per_payload: float | None = None
    # Parts of that: the queue's server, and processes that only upload, where there are such.
    redis_us_per_payload: float = 0.0
    uploading_us_per_payload: float = 0.0
    # The whole but for processes that only upload.
    accepting_us_per_payload: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    peak_rss_mib: float | None = None
    puts_per_million: float | None = None
    # Requests answered otherwise than 2xx, and those without an answer.
    refused: int = 0
    broken: int = 0
    # Accepted and not stored when the wait ended; below 0: stored, of requests yet unanswered.
    unstored: int = 0
    note: str = ""


def measure(
    bench: Bench, contender: Contender, demand: Demand, *, form: str, wait_seconds: float
) -> Cell:
    """Measure one run; waits so many seconds at most until all is stored. Blocks.

    Raises:
        AssertionError: the contender does not start.
        OSError, subprocess.SubprocessError: it breaks, or the load does.
    """
    with bench.running(contender) as running:
        cpu, begun = running.cpu_seconds(), time.monotonic()
        engine, uploading = running.engine_cpu_seconds(), running.uploading_cpu_seconds()
        seen = bench.load.run(running.port, demand)
        loaded = time.monotonic()
        counts = running.wait_stored(timeout=wait_seconds)
        # What it holds back on purpose, to fill an object, is not work left over.
        tail = max(0.0, time.monotonic() - loaded - contender.waits_seconds)
        cpu = running.cpu_seconds() - cpu
        engine = running.engine_cpu_seconds() - engine
        uploading = running.uploading_cpu_seconds() - uploading
        stored = counts.stored
        return Cell(
            contender=contender.name,
            payloads_per_request=demand.body.payloads,
            form=form,
            requests_per_second=seen.accepted / seen.seconds,
            accepted_per_second=counts.accepted / (loaded - begun),
            stored_per_second=stored / (loaded - begun + tail),
            cpu_us_per_payload=cpu / stored * MICRO if stored else None,
            redis_us_per_payload=engine / stored * MICRO if stored else 0.0,
            uploading_us_per_payload=uploading / stored * MICRO if stored else 0.0,
            accepting_us_per_payload=(cpu - uploading) / stored * MICRO if stored else None,
            p50_ms=seen.p50 * MILLI if seen.accepted else None,
            p99_ms=seen.p99 * MILLI if seen.accepted else None,
            peak_rss_mib=running.peak_rss_bytes() / MIB,
            puts_per_million=bench.sink.puts() / stored * MICRO if stored else None,
            refused=seen.refused,
            broken=seen.broken,
            unstored=counts.accepted - stored,
        )
