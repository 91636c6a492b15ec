"""Receipts of a web tier on Redis after the queue has forgotten them."""

from pathlib import Path

from tests.integration.app.application import Service
from tests.support.redis.server import RedisProcess
from tests.support.s3 import FakeS3, Fault
from workers.upload.s3 import Bucket


def test_only_a_denial_is_final(
    tmp_path: Path, shared_redis: RedisProcess, real_bucket: Bucket, s3: FakeS3
) -> None:
    """Where S3 denies the process it is a 410; where S3 is away it is a 503, to be asked again."""
    given = {"DURABILITY": "queue", "RECEIPT_SECRET": "s", "ROLE": "web", "S3_BUCKET": s3.bucket}
    service = Service(tmp_path, bucket=real_bucket, QUEUE_URL=shared_redis.url, **given)
    try:
        receipt = service.post([{"n": 1}]).headers["Location"]
        assert service.client.get(receipt).get_json()["state"] in ("accepted", "uploading")
        shared_redis.client().flushall()
        # What is open here is known here.
        service.pipeline.stop()
        shared_redis.client().flushall()
        s3.faults(Fault(kind="error", methods=["HEAD"], status=403, code="AccessDenied"))
        assert service.client.get(receipt).status_code == 410
        s3.stop_listening()
        away = service.client.get(receipt)
        assert (away.status_code, bool(away.headers["Retry-After"])) == (503, True)
    finally:
        service.pipeline.stop()
