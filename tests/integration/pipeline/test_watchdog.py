"""A thread of ours that ends by an error shows in readiness, and no request waits for it."""

import pytest

from tests.integration.pipeline.samples import Start, accept, until
from workers.errors import NotConfirmed, NotDurable
from workers.spool.adoption import Adoption
from workers.stores.disk_store import DiskStore


class EndOfThread(BaseException):
    """What no loop catches."""


def test_a_thread_that_ends_is_seen(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Readiness names it and a critical line has its traceback; payloads are still accepted."""

    def end(*_: object, **__: object) -> None:
        raise EndOfThread

    monkeypatch.setattr(Adoption, "look", end)
    pipeline = start()
    until(lambda: "adopter" in str(pipeline.refusal()), "a red readiness")
    # The line follows the red readiness, in the thread that ends.
    until(lambda: "thread ended" in caplog.text, "the line")
    assert [each.levelname for each in caplog.records if each.msg == "thread ended"] == ["CRITICAL"]
    accept(pipeline, b"{}")


def test_without_a_committer_no_request_waits(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it is not confirmed; what comes later is refused at once."""

    def end(*_: object, **__: object) -> None:
        raise EndOfThread

    pipeline = start(DRAIN_SECONDS=0.5)
    monkeypatch.setattr(DiskStore, "append", end)
    with pytest.raises(NotConfirmed, match="committer"):
        accept(pipeline, b"{}")
    until(lambda: "committer" in str(pipeline.refusal()), "a red readiness")
    with pytest.raises(NotDurable, match="committer"):
        accept(pipeline, b"{}")
