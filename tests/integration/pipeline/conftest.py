"""Pipelines on one spool and one bucket, and what a killed one left."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pipeline.samples import QUICK, Leave, Start
from tests.support.bench import Bench, settings_for
from tests.support.doubles import DictBucket
from tests.support.s3 import FakeS3
from workers.dispatch import backoff
from workers.pipeline import Pipeline
from workers.segments.segment import Receipt
from workers.upload.s3 import Bucket


@pytest.fixture
def start(
    tmp_path: Path, s3: FakeS3, real_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Start pipelines on one spool and one bucket: each is another process's. Stop those left."""
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.02)
    started: list[Pipeline] = []

    def start(spool: Path = tmp_path / "spool", **environ: object) -> Pipeline:
        settings = settings_for(spool, **{**QUICK, "S3_BUCKET": s3.bucket, **environ})
        pipeline = Pipeline(settings, bucket=real_bucket)
        pipeline.start()
        started.append(pipeline)
        return pipeline

    yield start
    # S3 answers again, so that no stop waits for it.
    s3.listen_again()
    s3.clear()
    for pipeline in started:
        pipeline.stop()


@pytest.fixture
def leave_behind(tmp_path: Path, s3: FakeS3) -> Leave:
    """Leave payloads in the spool, a segment each, as a killed process does."""

    def leave(count: int) -> list[Receipt]:
        bench = Bench(
            tmp_path / "spool",
            bucket=DictBucket(),
            OBJECT_MAX_PAYLOADS=1,
            MAX_QUEUE=10_000,
            S3_BUCKET=s3.bucket,
        )
        receipts = [bench.accept(b'{"left":%d}' % number)[0] for number in range(count)]
        bench.die()
        return receipts

    return leave
