"""Errors of the application, and the id of each request."""

import logging
import logging.config

import pytest

from tests.integration.app.application import Start, problem


def test_a_fault_of_ours_is_a_500_without_a_traceback(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns no more than that; the log has the traceback and the request's id."""
    service = start()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret detail")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(service.pipeline, "take", fail)
        answer = service.post([{}], **{"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert b"secret" not in answer.data
    assert problem(answer)["title"] == "Internal Server Error"
    assert answer.headers["X-Request-ID"] == "mine"
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_every_answer_has_the_request_s_id(start: Start) -> None:
    """The client's own, or one that was made; of a refusal, too."""
    service = start()
    for answer in (
        service.post([{}], **{"X-Request-ID": "mine"}),
        service.post([], **{"X-Request-ID": "mine"}),
        service.client.get("/nowhere", headers={"X-Request-ID": "mine"}),
    ):
        assert answer.headers["X-Request-ID"] == "mine"
    made = {service.client.get("/healthz").headers["X-Request-ID"] for _ in range(2)}
    assert len(made) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/payloads", 405),
        ("DELETE", "/payloads/s", 405),
        ("POST", "/payloads/S", 404),
        ("POST", "/payloads/", 404),
        ("POST", "/payloads/a/b", 404),
        ("POST", "/stats", 405),
    ],
)
def test_a_wrong_address_is_a_problem_too(
    start: Start, *, method: str, path: str, status: int
) -> None:
    """No route, no stream and no method answers with HTML or a redirect."""
    answer = start().client.open(path, method=method, data="[{}]", content_type="application/json")
    assert answer.status_code == status
    problem(answer)
    assert ("Allow" in answer.headers) == (status == 405)
