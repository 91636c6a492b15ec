"""The watermark of machines on one Redis, read as docs/objects.md says."""

from pathlib import Path

from tests.acceptance.queue.conftest import machines
from tests.support import wait_until
from tests.support.redis.server import RedisProcess
from tests.support.s3 import FakeS3, Fault
from tests.support.s3.recipes import documented
from tests.support.s3.watermarks import client_of, created_at

RFC3339 = "%Y-%m-%dT%H:%M:%S.%fZ"


def test_a_reader_waits_for_all_machines(
    tmp_path: Path, shared_redis: RedisProcess, s3: FakeS3
) -> None:
    """The worker says what it knows of the web machine's payloads, and its successor goes on."""
    complete_until, client = documented("objects.md", "complete_until"), client_of(s3)
    settings = {"OBJECT_MAX_AGE_SECONDS": 0.1, "WATERMARK_SECONDS": 0.2}
    s3.faults(Fault(kind="error", key_contains="ndjson"))
    with machines(tmp_path, s3, {**settings, "QUEUE_URL": shared_redis.url}) as start:
        web, worker = start("web"), start("worker")
        receipt = web.post("/payloads", [{"n": 1}]).json()["receipts"][0]
        created = created_at(receipt["object"]).strftime(RFC3339)
        # Watermarks of a queue are in whole milliseconds.
        held = created[:-4] + "000Z"
        wait_until(
            lambda: complete_until(client, s3.bucket) == held, timeout=30, what="the watermark"
        )
        worker.kill_group()
        s3.clear()
        redis = shared_redis.client()
        for key in ("leased", "writers"):
            for name in redis.zrange(f"{{bucket-brigade}}:{key}", 0, -1):
                redis.zadd(f"{{bucket-brigade}}:{key}", {name: 1})
        redis.hset("{bucket-brigade}:watermark", "until", 1)
        start("worker")
        wait_until(
            lambda: complete_until(client, s3.bucket) > created, timeout=30, what="the next one"
        )
        assert receipt["object"].partition(f"{s3.bucket}/")[2] in s3.all_keys()
        assert len([key for key in s3.all_keys() if key.startswith("_watermark/")]) == 1
    client.close()
