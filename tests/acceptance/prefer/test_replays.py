"""A retry with an Idempotency-Key and `Prefer: wait` is answered as it prefers itself."""

import uuid

from tests.acceptance.prefer.samples import Waiting


def test_a_retry_may_wait_for_s3(waiting: Waiting) -> None:
    """The first request did not wait; the second is a 201 once the object is there."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = waiting.service.post("/payloads/replayed", [{"n": 1}], headers=headers)
    assert first.status == 202
    prefer = {**headers, "Prefer": "wait=20"}
    for _ in range(2):
        answer = waiting.service.post("/payloads/replayed", [{"n": 1}], headers=prefer)
        assert (answer.status, answer.headers["Idempotent-Replayed"]) == (201, "true")
        assert answer.headers["Location"] == first.headers["Location"]
        assert answer.json()["receipts"][0]["state"] == "stored"
