"""A kill before, in and after each named step of a segment's life and of its recovery: all of them.

Each step is taken by a real process on a real file system, and the kill is SIGKILL: the kernel
frees the locks and keeps the counters, and no code of the process runs any more.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos.steps.process import COLLECTIONS, TORN, KeptBucket, Scenario
from tests.support.bench import Bench, balance
from workers.segments.naming import DEAD_PREFIX
from workers.spool.segment_file import OPEN, READY
from workers.upload.compression import unpack

pytestmark = pytest.mark.chaos

# Of each life: a step's name, and which time it is taken. `accept` counts what is durable.
START = (
    "sync_names 1",  # the spool is tried
    "sync_names 2",  # the process's spool, while it is made
    "rename 1",
    "sync_names 3",  # the root, once the process's spool is in it
)
LIFE = (
    *START,
    *("create 1", "write 1", "sync 1", "sync_names 4", "close 1", "accept 1"),
    *("write 2", "sync 2", "accept 2"),
    *("write 3", "truncate 1", "sync 3", "close 2", "rename 2"),  # the seal
    *("put 1", "begin_finish 1", "unlink 1", "end_finish 1"),
    *("rmtree 1", "write_document 1", "rmtree 2"),  # the process's spool is retired
)
BURIAL = (
    *START,
    *("create 1", "write 1", "sync 1", "sync_names 4", "close 1", "accept 1"),
    *("write 2", "truncate 1", "sync 2", "close 2", "rename 2"),
    *("put 1", "write_document 1", "sync_names 5"),  # refused for good: a dead letter
    *("begin_finish 1", "unlink 1", "end_finish 1"),
    "put 2",  # what tells other machines
)
RECOVERY = (
    *START,
    *("reopen 1", "truncate 1", "sync 1"),
    *("write 1", "truncate 2", "sync 2", "close 1", "rename 2"),  # the seal
    *("put 1", "begin_finish 1", "unlink 1", "end_finish 1"),
    *("rmtree 1", "write_document 1", "rmtree 2"),  # the killed process's spool is retired
    *("rmtree 3", "write_document 2", "rmtree 4"),  # and its own
)


def moments(steps: Sequence[str]) -> list[str]:
    """Name every moment to die at; an append is also cut off in its middle."""
    found = []
    for step in steps:
        middle = [f"in {step}"] if step.startswith("write ") else []
        found += [f"before {step}", *middle, f"after {step}"]
    return found


def judge(scenario: Scenario, *, refusing: bool = False) -> None:
    """Upload what is left; then promise and ledger hold to the last payload."""
    bucket = KeptBucket(scenario.objects)
    bucket.refusing = refusing
    bench = Bench(scenario.spool, bucket=bucket)
    left = sum(
        file.survey().lines for process_spool in bench.adopt() for file in process_spool.backlog
    )
    assert bench.totals().pending == left
    bench.upload_all()
    places = [
        (line, (key, number))
        for key, (body, _, encoding) in bucket.objects.items()
        if not key.startswith(DEAD_PREFIX)
        for number, line in enumerate(unpack(body, compression=encoding).splitlines(), 1)
    ]
    letters = sorted((scenario.spool / "dead").glob("*.ndjson"))
    dead = [line for path in letters for line in path.read_bytes().splitlines()]
    found = dict(places)
    assert len(found) == len(places), "stored twice"
    for collection in COLLECTIONS:
        assert len({*found, *dead} & set(collection)) in (0, len(collection)), "half a collection"
    if refusing:
        assert not found
        assert set(scenario.answered) <= set(dead)
    else:
        assert not dead
        assert {payload: found.get(payload) for payload in scenario.answered} == scenario.answered
    assert balance(bench.totals()) == (len(found) + len(dead), len(found), 0, len(dead))
    assert [path for path in scenario.spool.glob("*/*") if path.suffix in (OPEN, READY)] == []
    bench.die()


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    """Make an empty spool and an empty bucket."""
    return Scenario(tmp_path)


def test_a_life_takes_the_named_steps(scenario: Scenario) -> None:
    """No step of a segment's life is left out here, and none is only in the list."""
    assert not scenario.play("life")
    assert scenario.passed == moments(LIFE)
    assert len(scenario.answered) == 5
    judge(scenario)


def test_a_recovery_takes_the_named_steps(scenario: Scenario) -> None:
    """The same for the recovery of a segment whose second group was cut off."""
    assert scenario.play("life", TORN)
    assert not scenario.play("recovery")
    assert scenario.passed == moments(RECOVERY)
    assert len(scenario.answered) == 2
    judge(scenario)


def test_a_burial_takes_the_named_steps(scenario: Scenario) -> None:
    """The same for the life of a segment that becomes a dead letter."""
    assert not scenario.play("burial")
    assert scenario.passed == moments(BURIAL)
    judge(scenario, refusing=True)


@pytest.mark.parametrize("moment", moments(LIFE))
def test_a_kill_at_each_step_of_a_life(scenario: Scenario, moment: str) -> None:
    """What was answered for is stored once, and the ledger is exact, wherever the kill came."""
    assert scenario.play("life", moment)
    judge(scenario)


@pytest.mark.parametrize("moment", moments(RECOVERY[len(START) :]))
def test_a_kill_at_each_step_of_a_recovery(scenario: Scenario, moment: str) -> None:
    """The same when the process that recovers a torn segment is killed in its turn."""
    assert scenario.play("life", TORN)
    assert scenario.play("recovery", moment)
    judge(scenario)


@pytest.mark.parametrize("moment", moments(BURIAL[len(START) :]))
def test_a_kill_at_each_step_of_a_burial(scenario: Scenario, moment: str) -> None:
    """A dead letter is written once and counted once, wherever the kill came."""
    assert scenario.play("burial", moment)
    judge(scenario, refusing=True)
