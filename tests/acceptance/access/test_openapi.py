"""The OpenAPI document holds: requests made from it, and responses checked against it."""

import json
import re
import uuid
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks

from tests.acceptance.access.client import ADMIN, METERED, Client
from tests.support.s3 import LOOPBACK

DOCUMENT = "/openapi.json"
CHECKS = (
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
)
KEY = {"Authorization": f"Bearer {ADMIN}"}
EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def document(client: Client) -> dict[str, Any]:
    """Fetch the document."""
    found = json.loads(client.request("GET", DOCUMENT, None, **KEY).body)
    assert isinstance(found, dict)
    return found


OPERATIONS = (
    ("POST", "/payloads"), ("POST", "/payloads/{stream}"), ("POST", "/events"),
    ("POST", "/events/{stream}"), ("POST", "/webhooks/{source}"), ("GET", "/webhooks/{source}"),
    ("GET", "/receipts/{id}"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/stats"),
    ("GET", "/metrics"), ("GET", DOCUMENT), ("POST", "/v1/batch"), ("POST", "/quiet"),
    ("GET", "/console"), ("GET", "/console/{file}"), ("GET", "/console/data"),
    ("GET", "/console/lines"), ("POST", "/console/dead-letters/{segment}/replay"),
    ("POST", "/console/quarantine/{segment}/replay"),
)  # fmt: skip

TAKEN = {**dict.fromkeys(OPERATIONS[:4], 202), ("POST", "/quiet"): 204}


def test_the_document_has_every_operation(client: Client) -> None:
    """None is missing, and each names what keys are sent in; any key may read it."""
    found = document(client)
    assert {
        (method.upper(), path) for path, methods in found["paths"].items() for method in methods
    } == set(OPERATIONS)
    assert found["openapi"] == "3.1.0"
    assert set(found["components"]["securitySchemes"]) == {"bearer", "basic", "header", "url"}
    assert client.request("GET", DOCUMENT).status == 401
    assert client.request("GET", DOCUMENT, Authorization=f"Bearer {METERED}").status == 200


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_responses_are_as_the_document_says(client: Client, method: str, path: str) -> None:
    """Bodies valid and not: status, media type, headers and schema are in the document."""
    schema = schemathesis.openapi.from_dict(document(client))
    base_url = f"http://{LOOPBACK}:{client.service.port}"
    operation = schema[path][method]
    taken: list[int] = []

    @EXAMPLES
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        # One of its own: generated ones are the same too often, with other bodies.
        headers = {**KEY, "Idempotency-Key": str(uuid.uuid4())}
        response = case.call(base_url=base_url, headers=headers, timeout=30)
        case.validate_response(response, checks=list(CHECKS))
        taken.append(response.status_code)

    ask()
    if (method, path) in TAKEN:
        # What the document allows is taken.
        assert set(taken) == {TAKEN[method, path]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/payloads", {"payloads": [{"n": 1}], "version": "1"}),
        ("/payloads", [{"n": 1}]),
        ("/events", {"n": 1}),
    ],
)
def test_a_202_has_what_the_document_names(client: Client, path: str, body: object) -> None:
    """Each member of the response is in the document, and each that it requires in the response."""
    schemas = document(client)["components"]["schemas"]
    answer = client.post(path, body, ADMIN)
    assert answer.status == 202
    assert set(answer.json()) == set(schemas["Accepted"]["required"])
    preferred = client.post(path, body, ADMIN, Prefer="wait=9, handling=lenient").json()
    assert set(preferred) == set(schemas["Accepted"]["properties"])
    assert set(preferred["receipts"][0]) == set(schemas["Receipt"]["properties"]) - {"indexes"}
    [receipt] = answer.json()["receipts"]
    assert set(receipt) == set(schemas["Receipt"]["required"])
    status = client.request("GET", f"/receipts/{receipt['id']}", None, **KEY).json()
    assert set(status) <= set(schemas["Status"]["properties"])


def test_every_reference_leads_somewhere(client: Client) -> None:
    """What the document refers to is in it."""
    found = document(client)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(found))):
        place: Any = found
        for name in reference.split("/"):
            place = place[name]
        assert place
