"""The targets: which figures are held against which bounds, and what the bench says of them."""

import dataclasses

import pytest

from benchmarks.closer_looks.latency import Step, half_load
from benchmarks.comparison import forms, report, targets
from benchmarks.comparison.measurement import Cell
from benchmarks.output.text import show


def _cell(contender: str, cpu: float, *, payloads: int = 1, form: str = "plain") -> Cell:
    return Cell(
        contender=contender, payloads_per_request=payloads, form=form, cpu_us_per_payload=cpu
    )


@pytest.mark.parametrize(("cpu", "verdict"), [(27.6, "met"), (27.7, "NOT MET")])
def test_a_durable_payload_costs_less_than_one_in_memory(cpu: float, verdict: str) -> None:
    """Disk mode's CPU is at most 0.92 of Fluent Bit's, by the medians of the run."""
    cells = [_cell("disk", each) for each in (1.0, cpu, 99.0)] + [_cell("fluent-bit", 30.0)]
    [line] = [
        line
        for line in targets.table(cells).splitlines()
        if line.startswith("disk / fluent-bit") and "<= 0.92" in line
    ]
    assert line.endswith(verdict)


@pytest.mark.parametrize(("uploading", "verdict"), [(1.1, "met"), (0.9, "NOT MET")])
def test_what_accepts_into_a_queue_is_held_against_disk_mode(
    uploading: float, verdict: str
) -> None:
    """Web processes and Redis take 1.6 of disk mode's CPU at most, without what only uploads."""
    disk = dataclasses.replace(_cell("disk", 10.0, payloads=10), accepting_us_per_payload=10.0)
    roles = dataclasses.replace(
        _cell("queue-roles", 17.0, payloads=10),
        uploading_us_per_payload=uploading,
        accepting_us_per_payload=17.0 - uploading,
    )
    lines = targets.table([disk, roles]).splitlines()
    [line] = [line for line in lines if line.startswith("queue-roles / disk") and " 10 " in line]
    assert line.endswith(verdict)
    assert f"{show(uploading)} us of it the uploading processes'" in report.table([roles])


def test_many_streams_are_a_row_beside_one() -> None:
    """64 streams are compared with one, and have no aim of their own."""
    cells = [_cell("disk", 30.0), _cell("disk", 45.0, form="64-streams")]
    [line] = [line for line in forms.table(cells).splitlines() if "64-streams" in line]
    assert line.split()[2:5] == ["64-streams", "45.0", "1.50"]
    assert "met" not in line.lower()


def _step(contender: str, p99: float, *, offered: float | None, achieved: float = 0.0) -> Step:
    return Step(
        contender=contender,
        loop="closed" if offered is None else "open",
        offered=offered,
        achieved=achieved,
        p50_ms=1.0,
        p99_ms=p99,
    )


@pytest.mark.parametrize(("p99", "verdict"), [(4.0, "met"), (4.2, "NOT MET")])
def test_the_p99_at_half_load_is_held_against_memory_mode(p99: float, verdict: str) -> None:
    """Each at half of what its own closed loop achieved; of several runs the median counts."""
    steps = [
        _step("memory", 9.0, offered=None, achieved=1000.0),
        _step("memory", 2.0, offered=500.0),
        _step("disk", 9.0, offered=None, achieved=600.0),
        _step("disk", 99.0, offered=600.0),
        *(_step("disk", each, offered=300.0) for each in (1.0, p99, 50.0)),
    ]
    assert half_load(steps).endswith(f"target <= 2: {verdict}")
    assert half_load(steps[:2]) == ""
