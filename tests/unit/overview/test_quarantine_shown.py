"""Damaged files are seen: their lines may be in no object, and in no dead letter."""

from pathlib import Path

import pytest

from tests.support.bench import settings_for
from tests.support.figures import process
from workers.overview.kept import Entry, Kept
from workers.overview.seen import Seen
from workers.overview.verdict import judge
from workers.spool.counters import Counters, Field, Totals


@pytest.mark.parametrize(
    ("letters", "damaged", "text", "notes"),
    [
        (0, 0, "Everything is in S3.", []),
        (
            0,
            1,
            "Everything is in S3, but for what damaged files may have lost.",
            ["A damaged file is in quarantine."],
        ),
        (
            1,
            2,
            "Everything is in S3, but for dead letters and what damaged files may have lost.",
            ["There is a dead letter.", "2 damaged files are in quarantine."],
        ),
    ],
)
def test_the_first_line_says_so(
    tmp_path: Path, letters: int, damaged: int, text: str, notes: list[str]
) -> None:
    """The console does not say that everything is in S3 where lines may be lost."""
    cells = Counters.anonymous().snapshot()
    cells[Field.ACCEPTED] = cells[Field.STORED] = 9
    entry = Entry(name="segment", reason="no frame at byte 7")
    seen = Seen(
        totals=Totals([cells]),
        processes=[process()],
        objects=[],
        moments=[],
        dead_letters=Kept(count=letters, newest=[]),
        quarantine=Kept(count=damaged, newest=[entry] * damaged),
    )
    alive = seen.processes
    verdict = judge(settings_for(tmp_path), seen, alive=alive, causes=[], now=1000.0)
    assert (verdict.state, verdict.text, verdict.notes) == ("ok", text, notes)
