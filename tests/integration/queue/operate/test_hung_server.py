"""A server that stands still: no thread waits in line for it, and a stop ends in time."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.integration.app.application import Service
from tests.integration.queue.conftest import own_redis
from tests.support import wait_until
from tests.support.redis.server import RedisProcess
from tests.support.s3 import FakeS3
from workers.errors import QueueError
from workers.queue import redis_client
from workers.queue.redis_client import RedisServer
from workers.settings.queue import read_redis_url
from workers.upload.s3 import Bucket

__all__ = ["own_redis"]


def test_a_server_that_hangs_does_not_hold_up_a_stop(
    tmp_path: Path,
    own_redis: RedisProcess,
    real_bucket: Bucket,
    s3: FakeS3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No last step of the stop waits out the time-outs of a running process."""
    # Many times what a stop takes here under load.
    monkeypatch.setattr(redis_client, "ANSWER_SECONDS", 60.0)
    given = {"DURABILITY": "queue", "RECEIPT_SECRET": "s", "S3_BUCKET": s3.bucket}
    settings = {**given, "OBJECT_MAX_AGE_SECONDS": 3600, "DRAIN_SECONDS": 1}
    service = Service(tmp_path, bucket=real_bucket, QUEUE_URL=own_redis.url, **settings)
    try:
        assert service.post([{"n": 1}]).status_code == 202
        own_redis.pause()
        began = time.monotonic()
        service.pipeline.stop()
        assert time.monotonic() - began < redis_client.ANSWER_SECONDS / 2
    finally:
        own_redis.go_on()


def test_readiness_is_red_soon(
    tmp_path: Path, own_redis: RedisProcess, real_bucket: Bucket, s3: FakeS3
) -> None:
    """Also where no request finds out, and while other threads wait for their answers."""
    given = {"DURABILITY": "queue", "RECEIPT_SECRET": "s", "S3_BUCKET": s3.bucket, "ROLE": "worker"}
    service = Service(tmp_path, bucket=real_bucket, QUEUE_URL=own_redis.url, **given)
    own_redis.pause()
    try:
        # The others' answers, two in turn, may take ten seconds.
        wait_until(lambda: service.client.get("/readyz").status_code == 503, timeout=9, what="red")
    finally:
        own_redis.go_on()
        service.pipeline.stop()


def test_threads_that_wait_share_a_failure() -> None:
    """Of several that need a connection one tries, and its failure is that of all."""
    connections: list[socket.socket] = []
    failures: list[QueueError] = []
    together = threading.Barrier(8)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        server = RedisServer(read_redis_url(f"redis://127.0.0.1:{listener.getsockname()[1]}"))
        server.end_by(time.monotonic())

        def ask() -> None:
            together.wait()
            try:
                server.script("seal", "writer")
            except QueueError as error:
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(together.parties)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listener.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                connections.append(listener.accept()[0])
    for connection in connections:
        connection.close()
    assert len(failures) == together.parties
    assert 0 < len(connections) < together.parties
