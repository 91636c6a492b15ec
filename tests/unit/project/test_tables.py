"""The tables of the documents are tables: a row after an empty line would be shown as text."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_table_has_a_head(page: Path) -> None:
    """The second line of a block of rows is the rule below the head."""
    lines = ["", *page.read_text().splitlines(), ""]
    first_rows = [
        number
        for number, (before, line) in enumerate(pairwise(lines), 1)
        if line.startswith("|") and not before.startswith("|")
    ]
    assert not [lines[n] for n in first_rows if not re.fullmatch(r"\|[-:| ]+\|", lines[n + 1])]
    wrong = [
        lines[number]
        for number in first_rows
        for row in rows(lines[number:])
        if columns(row) != columns(lines[number])
    ]
    assert not wrong


def rows(lines: list[str]) -> list[str]:
    """Return the lines of the table that these begin with."""
    end = next(number for number, line in enumerate(lines) if not line.startswith("|"))
    return lines[:end]


def columns(row: str) -> int:
    """Count the cells of a row; an escaped bar ends none."""
    return len(re.findall(r"(?<!\\)\|", row))
