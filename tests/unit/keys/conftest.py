"""Fixtures: processes of one spool, each in pieces, that take requests with keys."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench import Bench
from tests.support.doubles import DictBucket

MakeProcess = Callable[..., Bench]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[MakeProcess]:
    """Make processes on one spool and one bucket; each has read its keys."""
    bucket = DictBucket()
    made: list[Bench] = []

    def make(**settings: Any) -> Bench:
        bench = Bench(tmp_path / "spool", bucket=bucket, **settings)
        bench.keys.read()
        made.append(bench)
        return bench

    yield make
    for bench in made:
        if bench.keys._known is not None:
            bench.keys.close()
