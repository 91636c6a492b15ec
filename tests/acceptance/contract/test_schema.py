"""The contract with a schema for payloads plugged in."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.contract.samples import NDJSON, stored
from tests.acceptance.service import ServiceFactory, settle
from tests.acceptance.wire import pointers, problem
from tests.support import wait_until
from tests.support.s3 import FakeS3

SCHEMA = """
from marshmallow import Schema, ValidationError, fields, validates

class Reading(Schema):
    sensor = fields.String(required=True)
    value = fields.Float(required=True)

    @validates("sensor")
    def has_a_good_day(self, value, **kwargs):
        if value == "bug":
            raise RuntimeError("the schema has a bug")
"""


@pytest.fixture
def schema(tmp_path: Path) -> dict[str, Any]:
    """Write a schema module as an operator would, and return the settings that plug it in."""
    (tmp_path / "readings.py").write_text(SCHEMA)
    return {"PYTHONPATH": tmp_path, "PAYLOAD_SCHEMA": "readings:Reading"}


def test_a_plugged_in_schema_names_each_fault_by_its_payload(
    service_factory: ServiceFactory, s3: FakeS3, schema: dict[str, Any]
) -> None:
    """With `PAYLOAD_SCHEMA` every payload is validated; good ones are still stored as sent."""
    service = service_factory.start(**schema)
    good = b'{"value":1.50,"sensor":"a"}'
    answer = service.post("/payloads", b'{"payloads":[' + good + b"]}")
    assert answer.status == 202
    bad = [{"sensor": "a", "value": 1}, {"sensor": 2, "value": "x"}, {"value": 3, "more": 4}]
    where = {"/1/sensor", "/1/value", "/2/sensor", "/2/more"}
    assert set(pointers(problem(service.post("/payloads", bad), 422))) == where
    lines = b"\n".join(json.dumps(each).encode() for each in bad)
    assert set(pointers(problem(service.post("/payloads", lines, headers=NDJSON), 422))) == where
    found = pointers(problem(service.post("/payloads", {"payloads": bad}), 422))
    assert set(found) == {f"/payloads{each}" for each in where}
    assert stored(service, s3, answer) == [good]
    assert settle(service)["accepted"] == 1


def test_an_exception_of_a_schema_is_a_422(
    service_factory: ServiceFactory, schema: dict[str, Any]
) -> None:
    """The client learns which payload, and the log which error; the service goes on."""
    service = service_factory.start(**schema)
    headers = {"X-Request-ID": "the-one-that-failed"}
    answer = service.post("/payloads", [{"sensor": "bug", "value": 1}], headers=headers)
    document = problem(answer, 422)
    assert document["errors"] == [{"pointer": "/0", "detail": "Cannot be validated: RuntimeError."}]

    def failures() -> list[dict[str, Any]]:
        return [event for event in service.logs().events if event["event"] == "schema failed"]

    # The log is written by a thread of its own, which may be a little later.
    wait_until(lambda: bool(failures()), timeout=20, what="the error in the log")
    (failed,) = failures()
    assert (failed["request_id"], failed["error"]) == ("the-one-that-failed", "RuntimeError")
    assert service.post("/payloads", [{"sensor": "a", "value": 1}]).status == 202
