"""Services on one queue: machines that share nothing but it and the bucket."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.support.launch.fork import fork
from tests.support.redis.fixtures import own_redis, session_redis, shared_redis
from tests.support.s3 import FakeS3
from tests.support.service import Service
from tests.support.sqs.fixtures import sqs
from workers.settings.stored import counters_directory

__all__ = ["own_redis", "session_redis", "shared_redis", "sqs"]

SETTINGS = {
    "DURABILITY": "queue",
    "RECEIPT_SECRET": "shared",
    "WEB_CONCURRENCY": 1,
    "MAX_WORKERS": 2,
}
# Starts a service of a role, with more settings.
Start = Callable[..., Service]


@contextlib.contextmanager
def machines(directory: Path, s3: FakeS3, settings: Mapping[str, object]) -> Iterator[Start]:
    """Start services in directories of their own, each ready when it is returned; end them all."""
    started: list[Service] = []

    def begin(role: str, **more: object) -> Service:
        home = directory / f"{role}-{len(started)}"
        home.mkdir()
        service = Service(
            home, s3, settings={**SETTINGS, **settings, "ROLE": role, **more}, launch=fork
        )
        started.append(service)
        service.start()
        service.wait_ready()
        return service

    try:
        yield begin
    finally:
        for service in started:
            service.kill_group()
            own = counters_directory(s3.bucket, service.port, durability="queue")
            shutil.rmtree(own, ignore_errors=True)
