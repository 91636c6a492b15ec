"""`Prefer: handling=lenient` at a running service: what is answered, and what is in the bucket."""

import gzip
import json

import pytest

from tests.acceptance.prefer.samples import Waiting, applied
from tests.acceptance.wire import pointers, problem

LENIENT = "handling=lenient, wait=9"


def test_faulty_payloads_are_listed_and_the_others_stored(waiting: Waiting) -> None:
    """Both preferences together: a 201 for those that are valid, `rejected` for the others."""
    answer = waiting.post("some", [{"n": 1}, 2, {"n": 3}], LENIENT)
    assert answer.status == 201
    assert applied(answer) == "handling=lenient, wait=9"
    said = answer.json()
    assert said["accepted"] == 2
    assert said["rejected"] == [{"pointer": "/1", "detail": "Must be an object."}]
    assert waiting.lines("some") == [b'{"n": 1}', b'{"n": 3}']


@pytest.mark.parametrize("path", ["/payloads", "/events"])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_lines_that_are_no_json_are_left_out(waiting: Waiting, path: str, encoding: str) -> None:
    """In NDJSON, small or large, compressed or not."""
    body = b'{"n":1}\n{"n":\n' + b" " * 300_000 + b'\n{"n":2}\n'
    headers = {"Content-Type": "application/x-ndjson", "Prefer": LENIENT}
    if encoding:
        body, headers["Content-Encoding"] = gzip.compress(body), encoding
    answer = waiting.service.post(f"{path}/lines", body, headers=headers)
    assert answer.status == 201
    assert [each["pointer"] for each in answer.json()["rejected"]] == ["/1"]


def test_a_body_without_faults_says_so(waiting: Waiting) -> None:
    """Nothing is rejected, and a 202 as ever; without the preference nothing is said."""
    answer = waiting.post("all", [{}], "handling=lenient")
    assert (answer.status, applied(answer)) == (202, "handling=lenient")
    assert answer.json()["rejected"] == []
    assert "rejected" not in waiting.post("all", [{}], "handling=strict").json()


@pytest.mark.parametrize(
    ("body", "status", "places"),
    [(b"[1,2]", 422, ["/0", "/1"]), (b'[{"n":1},', 400, []), (b"[]", 422, [])],
)
def test_with_none_valid_the_answer_is_the_strict_one(
    waiting: Waiting, body: bytes, status: int, places: list[str]
) -> None:
    """No payload without a fault, or a fault of the whole body, is the usual problem."""
    answer = waiting.post("none", body, "handling=lenient")
    assert pointers(problem(answer, status)) == places
    assert applied(answer) is None


def test_as_many_faults_as_are_listed(waiting: Waiting) -> None:
    """10,000 of them are one answer, and one more is a 422."""
    body = json.dumps([{}, *range(10_000)]).encode()
    answer = waiting.post("many", body, "handling=lenient")
    assert answer.json()["accepted"] == 1
    assert len(answer.json()["rejected"]) == 10_000
    refused = waiting.post("many", body[:-1] + b",1]", "handling=lenient")
    assert len(problem(refused, 422)["errors"]) == 100
