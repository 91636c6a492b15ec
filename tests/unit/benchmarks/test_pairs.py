"""The comparison with another revision: which files it starts, and when it calls new dearer."""

from pathlib import Path

import pytest

from benchmarks import ROOT
from benchmarks.comparison.measurement import Cell
from benchmarks.pairs.report import Pair, Row, allowed, table
from benchmarks.pairs.revision import checkout


def _pair(*, old: float, new: float, again: float) -> Pair:
    cells = [
        Cell(
            contender="disk", payloads_per_request=1, cpu_us_per_payload=cpu, requests_per_second=1
        )
        for cpu in (old, new, again)
    ]
    row = Row(contender="disk", payloads=1, form="plain")
    return Pair(row=row, old=cells[0], new=cells[1], again=cells[2])


@pytest.mark.parametrize(
    ("new", "again", "verdict"),
    [
        (102.0, 100.0, "  met"),
        (104.0, 100.0, "NOT MET"),
        (104.0, 95.0, "  met"),
        (106.0, 95.0, "NOT MET"),
    ],
)
def test_new_may_cost_the_allowance_or_the_noise(new: float, again: float, verdict: str) -> None:
    """More than 3 % is refused, unless old differs from itself by as much."""
    pairs = [_pair(old=100.0, new=new, again=again) for _ in range(9)]
    line = table(pairs).splitlines()[3]
    assert line.endswith(verdict)


def test_one_outlier_does_not_widen_what_is_allowed() -> None:
    """A single disturbed run of nine excuses nothing."""
    assert allowed([1.0] * 8 + [1.5]) == pytest.approx(1.03)


def test_a_checkout_is_taken_as_it_is() -> None:
    """A directory with the service in it is used, not copied."""
    assert checkout(str(ROOT), into=Path("unused")) == ROOT


def test_a_directory_without_the_service_is_named(tmp_path: Path) -> None:
    """A wrong directory is an error before anything runs."""
    with pytest.raises(FileNotFoundError, match=r"gunicorn\.conf\.py"):
        checkout(str(tmp_path), into=tmp_path)
