"""Answers that the completion of a future brings, through `Posts`."""

import pytest

from app.http.responses import Answer
from app.ingest.arrival import Arrival
from app.ingest.known_key import KnownKey
from app.ingest.posts import PendingAnswer
from tests.unit.servers.conftest import Served
from tests.unit.servers.engine import Request
from workers.errors import NotConfirmed
from workers.segments.future import DurabilityFuture, set_results
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


class Client:
    """A post whose response goes into a list; one whose connection is broken raises."""

    stream, content_type, content_encoding, prefer = "s", "application/json", "", ""
    idempotency_key: str | None = None
    sent_id: str | None = None
    arrival: Arrival | KnownKey | None = None

    def __init__(self, *, is_gone: bool = False) -> None:
        self.is_gone = is_gone
        self.answers: list[Answer] = []

    def send(self, answer: Answer) -> None:
        if self.is_gone:
            raise OSError
        self.answers.append(answer)

    def release(self) -> None:
        """Do nothing."""


def test_the_answers_of_a_group_are_finished_together(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has its own id and receipt, all are counted, and a broken one stops no other."""
    clients = [Client(is_gone=number == 1) for number in range(4)]
    futures = [
        DurabilityFuture(
            served.pipeline.take("s", b"{}\n", count=1).runs,
            PendingAnswer(served.router._posts, client, f"id-{number}", None),
        )
        for number, client in enumerate(clients)
    ]
    futures[2].set_exception(NotConfirmed("the disk failed"))
    set_results(futures)
    seen = [[(each.status, dict(each.headers)) for each in client.answers] for client in clients]
    assert [[status for status, _ in each] for each in seen] == [[202], [], [503], [202]]
    assert [headers["X-Request-ID"] for each in seen for _, headers in each] == [
        "id-0",
        "id-2",
        "id-3",
    ]
    assert b'"first_line":1,' in clients[0].answers[0].body
    assert b'"first_line":4,' in clients[3].answers[0].body
    assert served.counted == [Field.REQUESTS_503, *[Field.REQUESTS_202] * 3]
    assert caplog.text.count("a response failed") == 1
