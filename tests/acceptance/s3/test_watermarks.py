"""Watermarks of a running service, read as docs/objects.md says."""

import json
import re

from tests.acceptance.service import ServiceFactory
from tests.support import wait_until
from tests.support.s3 import FakeS3
from tests.support.s3.recipes import documented
from tests.support.s3.watermarks import client_of, created_at

RFC3339 = "%Y-%m-%dT%H:%M:%S.%fZ"


def test_a_reader_waits_for_the_watermark(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """It stays before what is not stored, passes it then, and says when nothing is left at all."""
    complete_until, client = documented("objects.md", "complete_until"), client_of(s3)
    assert complete_until(client, s3.bucket) is None
    service = service_factory.start(
        DURABILITY="memory", WATERMARK_SECONDS=0.1, OBJECT_MAX_AGE_SECONDS=3600, S3_TAGS="a=b"
    )
    receipt = service.post("/payloads", [{"n": 1}]).json()["receipts"][0]
    created = created_at(receipt["object"]).strftime(RFC3339)

    def has_reached_it() -> bool:
        return (complete_until(client, s3.bucket) or "") >= created

    wait_until(has_reached_it, timeout=50, what="the watermark at the payload's creation")
    assert complete_until(client, s3.bucket) == created
    service.terminate()
    assert service.wait(50) == 0
    [(key, note)] = [each for each in s3.objects().items() if each[0].startswith("_w")]
    assert json.loads(note.body)["final"] is True
    assert note.put_headers["x-amz-tagging"] == "a=b"
    assert complete_until(client, s3.bucket) > created
    assert re.fullmatch(r"_watermark/[0-9a-f]{32}\.json", key)
    client.close()
