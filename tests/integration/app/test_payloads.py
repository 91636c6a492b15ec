"""Payloads and receipts, from the WSGI application to the bucket."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.routes import receipts
from tests.integration.app.application import Start, problem
from tests.support.s3 import FakeS3, Fault


@pytest.mark.parametrize("durability", ["disk", "memory"])
def test_from_a_post_to_the_object(start: Start, s3: FakeS3, durability: str) -> None:
    """A 202 says where, its Location can be followed, and the object holds what was sent."""
    service = start(DURABILITY=durability)
    answer = service.post({"payloads": [{"n": 1}, {"n": 2}]}, "/payloads/clicks")
    assert answer.status_code == 202
    said = answer.get_json()
    assert (said["accepted"], said["durability"]) == (2, durability)
    [receipt] = said["receipts"]
    assert answer.headers["Location"] == f"/receipts/{receipt['id']}"
    service.until(stored=2, pending=0)
    status = service.client.get(answer.headers["Location"]).get_json()
    assert {**receipt, "state": "stored"}.items() <= status.items()
    [(key, first, line), (_, _, second)] = s3.lines()
    assert f"s3://{s3.bucket}/{key}" == receipt["object"]
    assert (first, line, second) == (1, b'{"n": 1}', b'{"n": 2}')


def test_a_receipt_through_its_states(start: Start, s3: FakeS3, tmp_path: Path) -> None:
    """Accepted while open, dead with its reason, and the same from another service."""
    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge", times=1))
    service = start(OBJECT_MAX_AGE_SECONDS=1000)
    where = service.post([{}]).headers["Location"]
    elsewhere = start(tmp_path / "elsewhere")
    assert service.client.get(where).get_json()["state"] == "accepted"
    assert elsewhere.client.get(where).get_json()["state"] == "accepted"
    service.pipeline.stop()
    for each in (start(), elsewhere):
        said = each.client.get(where).get_json()
        assert said["state"] == "dead"
        assert "EntityTooLarge" in said["reason"]


def test_a_bent_receipt_is_a_404(start: Start) -> None:
    """An id that was never issued is not found, even if S3 has such an object."""
    service = start()
    where = service.post([{}]).headers["Location"]
    for bent in (where[:-1] + ("0" if where[-1] != "0" else "1"), where + "0", "/receipts/x"):
        answer = service.client.get(bent)
        assert answer.status_code == 404
        assert problem(answer)["detail"] == "There is no such receipt."


def test_a_receipt_of_another_machine_with_s3_away(
    start: Start, s3: FakeS3, tmp_path: Path
) -> None:
    """What is not known here and cannot be asked for is a 503, not a guess."""
    service, elsewhere = start(), start(tmp_path / "elsewhere")
    where = service.post([{}]).headers["Location"]
    service.until(stored=1)
    s3.faults(Fault(kind="error", methods=["HEAD", "GET"]))
    answer = elsewhere.client.get(where)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "S3 does not answer" in problem(answer)["detail"]


def test_an_overload_is_a_503_and_passes(start: Start, s3: FakeS3) -> None:
    """With S3 stuck and the queue full: a 503 with Retry-After, not ready; then all is well."""
    s3.faults(Fault(kind="hang"))
    service = start(MAX_WORKERS=1, MAX_QUEUE=1, OBJECT_MAX_PAYLOADS=1)
    service.post([{}])
    service.until(idle_workers=0)
    assert [service.post([{}]).status_code for _ in range(3)] == [202, 202, 503]
    answer = service.post([{}])
    assert int(answer.headers["Retry-After"]) >= 1
    assert "queue is full" in problem(answer)["detail"]
    assert service.client.get("/readyz").status_code == 503
    s3.clear()
    service.until(stored=3, pending=0)
    assert service.client.get("/readyz").status_code == 200
    assert service.post([{}]).status_code == 202


def test_look_ups_leave_threads_for_payloads(
    start: Start, s3: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While S3 hangs, some receipts wait for it and the others are refused; payloads come in."""
    monkeypatch.setattr(receipts, "PLACE_SECONDS", 0)
    service, elsewhere = start(), start(tmp_path / "elsewhere")
    where = service.post([{}]).headers["Location"]
    service.until(stored=1)
    before = s3.counts().faults.get("hang", 0)
    s3.faults(Fault(kind="hang", methods=["HEAD"]))
    places = receipts.PLACES
    with ThreadPoolExecutor(places) as threads:
        waiting = [
            threads.submit(lambda: elsewhere.app.test_client().get(where)) for _ in range(places)
        ]
        s3.wait_until(lambda counts: counts.faults.get("hang", 0) == before + places)
        refused = elsewhere.client.get(where)
        accepted = elsewhere.post([{}])
        s3.clear()
        assert [each.result().get_json()["state"] for each in waiting] == ["stored"] * places
    assert refused.status_code == 503
    assert "S3 is slow" in problem(refused)["detail"]
    assert accepted.status_code == 202
    assert elsewhere.client.get(where).status_code == 200


class BrokenInput(io.BytesIO):
    """What a server reads a body from that breaks off."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def read(self, *_: object) -> bytes:
        raise self._error


@pytest.mark.parametrize(
    ("body", "environ", "status"),
    [
        (io.BytesIO(b"[{}]"), {"CONTENT_LENGTH": "4"}, 202),
        (io.BytesIO(b"[{}]"), {"CONTENT_LENGTH": "5"}, 408),
        (io.BytesIO(b"[{}]"), {"CONTENT_LENGTH": "2000"}, 413),
        (io.BytesIO(b"[{}]"), {"CONTENT_LENGTH": "1000000"}, 413),
        (io.BytesIO(b"[{}]"), {"wsgi.input_terminated": True}, 202),
        (io.BytesIO(b"[{}]" + b" " * 2000), {"wsgi.input_terminated": True}, 413),
        (io.BytesIO(b'{"n":1}\n' * 500), {"wsgi.input_terminated": True}, 413),
        (io.BytesIO(b"[{}]"), {}, 400),
        (BrokenInput(TimeoutError()), {"CONTENT_LENGTH": "4"}, 408),
        (BrokenInput(ValueError()), {"wsgi.input_terminated": True}, 400),
    ],
)
def test_a_body_is_whole_or_refused(
    start: Start, *, body: io.BytesIO, environ: dict[str, Any], status: int
) -> None:
    """Cut short, too long or broken, by length or by chunks: no part is taken for the whole."""
    body.seek(0)
    service = start(MAX_BODY_BYTES=1024)
    content_type = "application/x-ndjson" if b"n" in body.getvalue() else "application/json"
    answer = service.client.post(
        "/payloads",
        environ_overrides={"wsgi.input": body, "CONTENT_TYPE": content_type, **environ},
    )
    assert answer.status_code == status
    assert service.stats()["accepted"] == (1 if status == 202 else 0)
