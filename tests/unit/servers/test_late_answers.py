"""Answers that the completion of a future brings, through `Posts`."""

import pytest

from tests.unit.servers.conftest import Served
from tests.unit.servers.engine import Request
from workers.errors import NotConfirmed
from workers.segments.future import DurabilityFuture
from workers.spool.counters import Field

BODY = b"[{}]"


def post(served: Served) -> Request:
    """Send a payload."""
    request = Request(content_length=str(len(BODY)), content_type="application/json")
    served.router.request(request)
    request.coming.arrive(BODY)
    return request


def test_an_answer_that_cannot_be_made_is_a_500(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours behind the durability, too, leaves no client without an answer."""

    def fail(_: DurabilityFuture) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(served.handler, "answer", fail)
    request = post(served)
    [answer] = request.answers
    assert answer.status == 500
    assert "X-Request-ID" in dict(answer.headers)
    assert served.counted == [Field.REQUESTS_500]


def test_a_future_that_is_refused_later_is_a_503(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection that turns out not to be confirmed gets its problem, finished like any other."""

    def refuse(future: DurabilityFuture) -> None:
        future.set_exception(NotConfirmed("the disk failed"))

    monkeypatch.setattr(DurabilityFuture, "set_result", refuse)
    request = post(served)
    [answer] = request.answers
    assert answer.status == 503
    assert b"Not confirmed" in answer.body
    assert served.counted == [Field.REQUESTS_503]
