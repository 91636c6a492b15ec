"""Partitions on the console: the open ones of a stream, of all processes together."""

import time

import pytest

from tests.support.bench import Bench, MakeBench
from tests.support.figures import process
from workers.figures import collector
from workers.figures.collector import Collector
from workers.figures.figures import StreamFigures
from workers.figures.place import LocalPlace
from workers.figures.published import Published
from workers.overview.overview import look
from workers.overview.seen import SpoolSight


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """Make a pipeline in pieces, whose keys have a field of the payload."""
    return make_bench(KEY_TEMPLATE="{stream}/{payload.country}/{segment}")


def collected(bench: Bench) -> list[StreamFigures]:
    """Return the streams that the pipeline shows."""
    place = LocalPlace(bench.spool.root, totals=bench.totals)
    made = Collector(
        place, role="all", workers=(), intake=bench.intake, backlog=bench.backlog, jobs=bench.jobs
    )
    return made.collect().streams


def test_open_partitions_are_those_with_the_most_bytes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its values as in the key, payloads, bytes and age."""
    monkeypatch.setattr(collector, "MAX_PARTITIONS_SHOWN", 2)
    before = time.time()
    for values, number in (("DE", 2), ("a%2Fb", 3), ("FR", 1)):
        bench.accept(*[b"{}"] * number, stream=f"orders/{values}")
    [orders] = collected(bench)
    assert (orders.stream, orders.open_segments) == ("orders", 3)
    assert [(p.values, p.open_payloads, p.open_size) for p in orders.partitions] == [
        ("a%2Fb", 3, 9),
        ("DE", 2, 6),
    ]
    assert all(before - 1 <= each.open_since <= time.time() for each in orders.partitions)


def test_a_partition_of_two_processes_is_one(bench: Bench) -> None:
    """Payloads and bytes are added up, and the older one says since when it is open."""
    bench.accept(b"{}", stream="orders/DE")
    streams = collected(bench)
    both = [Published(bench.spool.root) for _ in range(2)]
    for pid, published in enumerate(both):
        published.write(process(pid=pid, streams=streams))
    [orders] = look(bench.settings, SpoolSight(bench.spool, bench.settings)()).streams
    [german] = orders.partitions
    assert (german.values, german.open_payloads, german.open_size) == ("DE", 2, 6)
    assert german.open_since == streams[0].partitions[0].open_since
    for published in both:
        published.close()
