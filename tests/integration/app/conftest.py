"""Applications on one spool and one bucket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.app.application import Service, Start
from tests.support.s3 import FakeS3
from workers.dispatch import backoff
from workers.upload.s3 import Bucket


@pytest.fixture
def start(
    tmp_path: Path, s3: FakeS3, real_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Start services on one spool and one bucket; stop them all."""
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.02)
    started: list[Service] = []

    def start(spool: Path = tmp_path / "spool", **environ: object) -> Service:
        service = Service(spool, bucket=real_bucket, **{"S3_BUCKET": s3.bucket, **environ})
        started.append(service)
        return service

    yield start
    s3.listen_again()
    s3.clear()
    for service in started:
        service.pipeline.stop()
