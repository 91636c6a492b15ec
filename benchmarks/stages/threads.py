"""Where the CPU of a request goes in the running service: by the threads of its processes."""

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.comparison.forms import FORMS
from benchmarks.harness.contenders import contender
from benchmarks.harness.environment import Bench
from benchmarks.harness.running import TICKS_PER_SECOND
from benchmarks.output.text import grid, show, title

MODES = ("disk", "memory")
WAIT_SECONDS = 10.0
MICRO = 1e6
# The names that threads of the engine's Rust runtime begin with.
RUST = "tokio"
ENGINE, REQUESTS, BEHIND = (
    "the engine's Rust threads: sockets, HTTP",
    "Python threads for requests: decode, place, answer",
    "Python threads behind them: committer, uploads",
)
# Ticks of a process's thread: its number, its name, what it has used.
Thread = tuple[int, str, int]


def rows(bench: Bench, *, sizes: Sequence[int], seconds: int) -> list[list[str]]:
    """Load the service in both modes, and return microseconds of CPU per request by thread."""
    found: list[list[str]] = []
    for mode in MODES:
        used = [_measure(bench, mode, size=size, seconds=seconds) for size in sizes]
        figures = {
            **{kind: [of_size[kind] for of_size in used] for kind in (ENGINE, REQUESTS, BEHIND)},
            "all": [sum(of_size.values()) for of_size in used],
        }
        found += [[mode, kind, *map(show, values), ""] for kind, values in figures.items()]
    return found


def table(rows: Sequence[Sequence[str]], *, sizes: Sequence[int]) -> str:
    """Lay the rows out."""
    heads = ("mode", "threads", *(f"x{size}" for size in sizes), "")
    return f"{title('CPU us/request in the running service')}\n{grid(heads, rows)}"


def by_kind(threads: Sequence[Thread]) -> Mapping[str, int]:
    """Sum the ticks of a process's threads by kind.

    The service starts the threads behind requests before the engine, and the engine starts its
    Rust threads first: the kernel's numbers of threads are in that order.
    """
    rust = [number for number, name, _ in threads if name.startswith(RUST)]
    first = min(rust, default=0)
    sums: Counter[str] = Counter()
    for number, name, ticks in threads:
        kind = ENGINE if name.startswith(RUST) else REQUESTS if number > first else BEHIND
        sums[kind] += ticks
    return sums


def since(before: Sequence[Thread], after: Sequence[Thread]) -> list[Thread]:
    """Return a process's threads with the ticks that each has used since `before`."""
    used = {number: ticks for number, _, ticks in before}
    return [(number, name, ticks - used.get(number, 0)) for number, name, ticks in after]


def _measure(bench: Bench, mode: str, *, size: int, seconds: int) -> Mapping[str, float]:
    demand = FORMS[0].demand(size, seconds=seconds, bare=False)
    with bench.running(contender(mode)) as running:
        before = {pid: _threads(pid) for pid in running.service.processes()}
        seen = bench.load.run(running.port, demand)
        running.wait_stored(timeout=WAIT_SECONDS)
        used: Counter[str] = Counter()
        for pid in running.service.processes():
            used.update(by_kind(since(before.get(pid, ()), _threads(pid))))
    if not seen.accepted:
        return dict.fromkeys((ENGINE, REQUESTS, BEHIND), 0.0)
    per_request = MICRO / TICKS_PER_SECOND / seen.accepted
    return {kind: used[kind] * per_request for kind in (ENGINE, REQUESTS, BEHIND)}


def _threads(pid: int) -> list[Thread]:
    """Read the threads of a process, and the ticks that each has used (proc(5))."""
    found = []
    for entry in os.listdir(f"/proc/{pid}/task"):
        # A thread that has ended meanwhile is left out.
        with contextlib.suppress(OSError):
            head, _, rest = Path(f"/proc/{pid}/task/{entry}/stat").read_text().rpartition(")")
            fields = rest.split()
            name = head.partition("(")[2]
            found.append((int(entry), name, int(fields[11]) + int(fields[12])))
    return found
