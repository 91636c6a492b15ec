"""The future of a collection: completed once, by one thread, with its callback or its result."""

from pathlib import Path

import pytest

from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from workers.errors import NotConfirmed, NotDurable, Refusal
from workers.pipeline import Pipeline
from workers.segments.future import DurabilityFuture, Run
from workers.segments.segment import Header, MemoryBody, Segment

HEADER = Header(name="n", stream="s", bucket="b", key="k", compression="none")
RUN = Run(Segment(HEADER, MemoryBody()), 1, b"{}\n", 1)
REFUSED = NotDurable("the disk is full")


def test_the_callback_is_called_once_with_the_first_outcome() -> None:
    """Later outcomes change nothing and call nothing."""
    seen: list[Refusal | None] = []
    future = DurabilityFuture([RUN], lambda future: seen.append(future.exception))
    assert not future.done
    future.set_exception(REFUSED)
    future.set_result()
    future.set_exception(NotConfirmed("later"))
    assert seen == [REFUSED]
    assert future.done


def test_an_error_in_a_callback_is_logged_and_goes_no_further(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error in one response does not reach the thread that completes the others."""

    def fail(_: DurabilityFuture) -> None:
        raise ValueError

    DurabilityFuture([RUN], fail).set_result()
    assert "a response failed" in caplog.text


def test_a_result_may_be_asked_for_again() -> None:
    """Without a callback a thread gets the receipts, or the refusal, as often as it asks."""
    good, bad = DurabilityFuture([RUN, RUN]), DurabilityFuture([RUN])
    good.set_result()
    bad.set_exception(REFUSED)
    for _ in range(2):
        assert [receipt.count for receipt in good.result()] == [1, 1]
        with pytest.raises(NotDurable):
            bad.result()
    assert (good.size, bad.size) == (6, 3)


def test_a_callback_may_take_another_collection(tmp_path: Path) -> None:
    """In memory mode the callback is called before `take` returns, and no lock is held."""
    pipeline = Pipeline(settings_for(tmp_path, DURABILITY="memory"), bucket=DictBucket())
    seen: list[int] = []

    def again(future: DurabilityFuture) -> None:
        seen.append(future.runs[0].first_line)
        if len(seen) < 3:
            pipeline.take("s", b"{}\n", count=1, callback=again)

    pipeline.take("s", b"{}\n", count=1, callback=again)
    assert seen == [1, 2, 3]
    pipeline.stop()
