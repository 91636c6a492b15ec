"""A 503 whose payloads may be stored all the same has a type of its own."""

import json

from app.http.problems import NotConfirmed, Unavailable


def test_an_unconfirmed_collection_has_its_own_type() -> None:
    """A client can tell a refusal that kept nothing from one that may have kept all."""
    unconfirmed = NotConfirmed("Not confirmed: the spool failed.", retry_after=5)
    assert unconfirmed.status == 503
    assert json.loads(unconfirmed.body())["type"] == "urn:bucket-brigade:not-confirmed"
    plain = Unavailable("Not accepted: the queue is full.", retry_after=5)
    assert json.loads(plain.body())["type"] == "about:blank"
