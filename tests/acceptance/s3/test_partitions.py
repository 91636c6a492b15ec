"""Partitions: payloads of one stream go to several places in the bucket, by what they say."""

import hashlib
import hmac
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.acceptance.service import ServiceFactory, settle
from tests.support.s3 import FakeS3, content

TEMPLATE = "{stream}/c={payload.geo.c}/day={event_date}/{segment}.gz"
SECRET = b"hush"
PAYLOAD = {"geo": {"c": "a/ü"}, "at": "2020-01-02T01:00:00+02:00"}
PLACE = "c=a%2F%C3%BC/day=2020-01-01"
ACCESS = f"""
[keys.all]
sha256 = ["{hashlib.sha256(b"key").hexdigest()}"]
scope = "admin"

[webhooks.hook]
scheme = "github"
secrets = ["file:{{secret}}"]

[endpoints."/v1/batch"]
stream = "wrapped"
payloads = "/batch"
envelope = true
"""


@pytest.mark.parametrize(
    ("server_mode", "line_format"), [("engine", "payload"), ("gthread", "envelope")]
)
def test_every_way_in_goes_by_the_payload(
    service_factory: ServiceFactory, s3: FakeS3, tmp_path: Path, line_format: str
) -> None:
    """With anything around it in its line: in an envelope, an endpoint's envelope, a webhook."""
    (tmp_path / "secret").write_bytes(SECRET)
    file = tmp_path / "access.toml"
    file.write_text(ACCESS.format(secret=tmp_path / "secret"))
    service = service_factory.make(
        KEY_TEMPLATE=TEMPLATE, EVENT_TIME="/at", LINE_FORMAT=line_format, ACCESS_FILE=file
    )
    service.start()
    service.wait_ready()
    body = json.dumps(PAYLOAD, indent=1).encode()
    mac = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    key = {"Authorization": "Bearer key"}
    answers = [
        service.post("/payloads/plain", {"payloads": [PAYLOAD]}, headers=key),
        service.post("/events/events", body, headers=key),
        service.post("/v1/batch", {"geo": {"c": "no"}, "batch": [PAYLOAD]}, headers=key),
        service.post("/webhooks/hook", body, headers={"X-Hub-Signature-256": f"sha256={mac}"}),
    ]
    assert [answer.status for answer in answers] == [202] * 4
    places = [answer.json()["receipts"][0]["object"].rpartition("/")[0] for answer in answers]
    streams = ("plain", "events", "wrapped", "hook")
    assert places == [f"s3://{s3.bucket}/{stream}/{PLACE}" for stream in streams]


def test_receipts_say_which_payloads_are_where(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """One collection over several partitions: every receipt's lines are its payloads, in order."""
    service = service_factory.start(
        KEY_TEMPLATE="{stream}/c={payload.c}/{segment}.gz", DURABILITY=durability,
        OBJECT_MAX_PAYLOADS=7,
    )  # fmt: skip
    values = ["DE", "DE", 1, None, "DE", "..", 1, "", "AT", "DE"]
    payloads = [{"n": n, "c": value} for n, value in enumerate(values * 3)]
    answer = service.post("/payloads/orders", payloads)
    assert answer.status == 202
    assert answer.json()["accepted"] == len(payloads)
    settle(service)
    seen: list[int] = []
    for receipt in answer.json()["receipts"]:
        indexes = [n for first, last in receipt["indexes"] for n in range(first, last + 1)]
        key = receipt["object"].removeprefix(f"s3://{s3.bucket}/")
        lines = content(key, s3.objects()[key]).splitlines()
        first = receipt["first_line"] - 1
        found = [json.loads(line) for line in lines[first : first + receipt["count"]]]
        assert found == [payloads[n] for n in indexes]
        assert len({each["c"] or None for each in found}) == 1
        status = service.get(f"/receipts/{receipt['id']}").json()
        assert (status["state"], status["object"]) == ("stored", receipt["object"])
        assert status["indexes"] == receipt["indexes"]
        seen += indexes
    assert sorted(seen) == list(range(len(payloads)))
    places = {key.split("/")[1] for key in s3.objects()}
    assert places == {"c=DE", "c=1", "c=AT", "c=%2E%2E", "c=__HIVE_DEFAULT_PARTITION__"}


def test_a_receipt_holds_though_a_value_looks_like_a_segment(
    service_factory: ServiceFactory, s3: FakeS3
) -> None:
    """And though the key is as long as S3 allows."""
    name = "20261123T235301123456Z-9f86d081884c7d65"
    service = service_factory.start(
        KEY_TEMPLATE="{stream}/" + "x" * 580 + "/{payload.a}/{payload.b}/{segment}"
    )
    answer = service.post("/payloads/" + "s" * 64, [{"a": name, "b": "é" * 99}])
    assert answer.status == 202
    settle(service)
    assert f"/{name}/{quote('é') * 21}/" in next(iter(s3.objects()))
    receipt = answer.json()["receipts"][0]
    assert service.get(f"/receipts/{receipt['id']}").json()["state"] == "stored"


def test_too_many_partitions_are_refused(service_factory: ServiceFactory) -> None:
    """For good in one collection; one after another they make way for each other."""
    service = service_factory.start(
        KEY_TEMPLATE="{stream}/{payload.a}/{segment}", MAX_STREAMS=4, OBJECT_MAX_AGE_SECONDS=60
    )
    answer = service.post("/payloads", [{"a": n} for n in range(5)])
    assert answer.status == 413
    assert "more than 4 partitions" in answer.json()["detail"]
    for n in range(6):
        assert service.post("/payloads", [{"a": n}]).status == 202
    assert "bucket_brigade_early_seals_total 2.0" in service.get("/metrics").body.decode()


def test_reserved_streams_are_refused(service_factory: ServiceFactory) -> None:
    """On each route; a stream that only begins so is one like any other."""
    service = service_factory.start()
    for path in ("/payloads/_dead", "/events/_dead", "/payloads/_watermark", "/events/_watermark"):
        answer = service.post(path, [{}])
        assert answer.status == 404
        assert "neither _dead nor _watermark" in answer.json()["detail"]
        assert service.post(path + "x", [{}]).status == 202
