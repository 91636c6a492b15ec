"""A group of futures: each owner of some is called once, and nothing else changes."""

from collections.abc import Sequence
from typing import Any

import pytest

from workers.errors import NotDurable
from workers.segments.future import DurabilityFuture, OwnedCallback, Run, set_results
from workers.segments.segment import Header, MemoryBody, Segment

HEADER = Header(name="n", stream="s", bucket="b", key="k", compression="none")
RUN = Run(Segment(HEADER, MemoryBody()), 1, b"{}\n", 1)


class Recorder:
    """An owner that records what it is called with."""

    def __init__(self) -> None:
        self.groups: list[list[DurabilityFuture]] = []
        self.alone: list[DurabilityFuture] = []
        self.fails = False

    def on_done(self, callback: Any, future: DurabilityFuture) -> None:
        assert callback.owner is self
        self.alone.append(future)

    def on_group_done(self, done: Sequence[tuple[Any, DurabilityFuture]]) -> None:
        if self.fails:
            raise ValueError
        assert all(callback is future.callback for callback, future in done)
        self.groups.append([future for _, future in done])


def owned(owner: Recorder) -> DurabilityFuture:
    """Make a future of an owner."""
    return DurabilityFuture([RUN], OwnedCallback(owner))


def test_each_owner_is_called_once_for_a_group() -> None:
    """Futures of others among them are completed as ever."""
    one, other = Recorder(), Recorder()
    called: list[DurabilityFuture] = []
    mine, theirs = [owned(one) for _ in range(3)], [owned(other) for _ in range(2)]
    plain, waited = DurabilityFuture([RUN], called.append), DurabilityFuture([RUN])
    set_results([mine[0], theirs[0], plain, mine[1], waited, theirs[1], mine[2]])
    assert (one.groups, other.groups, called) == ([mine], [theirs], [plain])
    assert [receipt.count for receipt in waited.result()] == [1]
    assert all(future.done for future in (*mine, *theirs, plain, waited))


def test_what_is_done_is_not_done_again() -> None:
    """One that was refused before keeps its outcome; after the group nothing is called any more."""
    owner = Recorder()
    refused, good = owned(owner), owned(owner)
    refused.set_exception(NotDurable("full"))
    set_results([refused, good])
    set_results([refused, good])
    good.set_exception(NotDurable("late"))
    assert (owner.alone, owner.groups) == ([refused], [[good]])
    assert isinstance(refused.exception, NotDurable)
    assert good.exception is None


def test_an_owner_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged, and the committer goes on."""
    bad, good = Recorder(), Recorder()
    bad.fails = True
    set_results([owned(bad), owned(good), owned(bad)])
    assert len(good.groups) == 1
    assert caplog.text.count("a response failed") == 1
