"""The ledger: it balances, it outlives a kill, and every failure has its counter."""

from pathlib import Path

import pytest

from workers.segments.naming import segment_name
from workers.spool.counters import (
    CELLS,
    COUNTERS_BYTES,
    PUT_SECONDS,
    Counters,
    Field,
    Totals,
    segment_number,
)
from workers.upload.s3_errors import REASONS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Say where the counters are."""
    return tmp_path / "ledger"


@pytest.fixture
def counters(path: Path) -> Counters:
    """Make counters of zero."""
    return Counters.create(path)


def ledger(counters: Counters) -> tuple[int, int, int]:
    """Return accepted, stored and dead."""
    return counters[Field.ACCEPTED], counters[Field.STORED], counters[Field.DEAD]


def test_a_board_outlives_its_process(counters: Counters, path: Path) -> None:
    """What was counted is in the file at once, and others can read it."""
    counters.accept(payloads=3, size=30)
    counters.add(Field.CONFLICTS)
    counters[Field.QUEUE_DEPTH] = 7
    other = Counters.open(path)
    assert other.snapshot() == counters.snapshot()
    assert (other[Field.ACCEPTED], other[Field.ACCEPTED_BYTES]) == (3, 30)
    assert (other[Field.CONFLICTS], other[Field.QUEUE_DEPTH]) == (1, 7)
    other.close()
    counters.close()


def test_the_fields_fit_on_a_board() -> None:
    """Every field has its cell, and the last one room for all its buckets."""
    buckets = range(Field.PUT_BUCKETS, Field.PUT_BUCKETS + len(PUT_SECONDS) + 1)
    assert sorted({*map(int, Field), *buckets}) == list(range(max(Field) + 1))
    assert len({*map(int, Field), *buckets}) == len(Field) + len(buckets) - 1
    assert max(Field) < CELLS


def test_the_order_of_the_fields_is_the_format() -> None:
    """A rolling upgrade reads the boards of the version before: fields are only appended."""
    names = ["ACCEPTED", "DEAD", "FINISHING", "OLDEST_MICROSECONDS", "PUT_MICROSECONDS"]
    assert [int(Field[name]) for name in names] == [0, 2, 3, 9, 33]
    assert (Field.PUT_BUCKETS, Field.PARKED_THROTTLED, Field.PARKED_DISK) == (34, 46, 52)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_counter(reason: str) -> None:
    """Every reason for which a PUT fails can be counted, so counting never fails."""
    assert f"PUT_FAILURES_{reason.upper()}" in Field.__members__


def test_finishing_counts_once(counters: Counters) -> None:
    """Both counts move together, and the note is cleared."""
    counters.accept(payloads=10, size=1)
    counters.begin_finish(7, stored=4, dead=1)
    assert ledger(counters) == (10, 0, 0)
    counters.end_finish()
    assert ledger(counters) == (10, 4, 1)
    assert counters[Field.FINISHING] == 0


@pytest.mark.parametrize(("file_is_there", "stored"), [(True, 0), (False, 4)])
def test_a_kill_while_finishing(counters: Counters, *, file_is_there: bool, stored: int) -> None:
    """Killed beside the removal of the file: the file tells whether it was counted."""
    counters.accept(payloads=10, size=1)
    counters.begin_finish(7, stored=4, dead=0)
    counters.redo(still_there=frozenset([7, 8] if file_is_there else [8]))
    assert ledger(counters) == (10, stored, 0)
    counters.redo(still_there=frozenset())
    assert ledger(counters) == (10, stored, 0)


def test_a_kill_in_the_middle_of_counting(counters: Counters) -> None:
    """Killed between the two counts, doing it again counts nothing twice."""
    counters.begin_finish(7, stored=4, dead=2)
    counters[Field.STORED] = counters[Field.FINISHED_STORED]
    counters.redo(still_there=frozenset())
    assert ledger(counters) == (0, 4, 2)


def test_the_histogram_of_puts(counters: Counters) -> None:
    """A duration falls into the first bucket that holds it, the last one holding all."""
    for seconds in (0.0, 0.005, 0.006, 10.0, 11.0):
        counters.observe_put(seconds)
    buckets = Totals([counters.snapshot()]).put_buckets
    assert buckets == [2, 1, *[0] * 8, 1, 1]
    assert len(buckets) == len(PUT_SECONDS) + 1
    assert counters[Field.PUT_MICROSECONDS] == 21_011_000


def test_totals_add_up() -> None:
    """Boards are summed; the oldest is the least that is not zero."""
    cells = [[0] * CELLS for _ in range(3)]
    for row, accepted, stored, dead, oldest in zip(
        cells, (5, 7, 0), (1, 2, 0), (0, 1, 0), (30, 20, 0), strict=True
    ):
        row[Field.ACCEPTED], row[Field.STORED], row[Field.DEAD] = accepted, stored, dead
        row[Field.OLDEST_MICROSECONDS] = oldest
    totals = Totals(cells)
    assert (totals[Field.ACCEPTED], totals.pending, totals.oldest_microseconds) == (12, 8, 20)


def test_totals_of_nothing() -> None:
    """A service that never ran has all zeroes."""
    totals = Totals([])
    assert totals.cells == [0] * CELLS
    assert (totals.pending, totals.oldest_microseconds) == (0, 0)


def test_numbers_of_segments_fit_a_cell(counters: Counters) -> None:
    """With any random part, a segment's number is positive and fits into a signed cell."""
    for part in ("0" * 16, "f" * 16, "8" + "0" * 15, "0" * 15 + "1"):
        number = segment_number(segment_name(0)[:-16] + part)
        assert number > 0
        counters.begin_finish(number, stored=0, dead=0)
        assert counters[Field.FINISHING] == number


def test_a_board_that_a_power_cut_left_short_is_mapped(path: Path) -> None:
    """A file whose zeroes never reached the disk counts as all zeroes, not as an error."""
    path.write_bytes(b"")
    counters = Counters.open(path)
    assert counters.snapshot() == [0] * CELLS
    counters.accept(payloads=1, size=1)
    assert path.stat().st_size == COUNTERS_BYTES
    counters.close()
