"""An application over a real pipeline."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from werkzeug.test import TestResponse

from app.factory import create_app
from tests.support import wait_until
from tests.support.bench import settings_for
from workers.pipeline import Pipeline
from workers.upload.s3 import Bucket


class Service:
    """An application and its pipeline."""

    def __init__(self, spool: Path, *, bucket: Bucket, **environ: object) -> None:
        given = {"OBJECT_MAX_AGE_SECONDS": 0.02, "DRAIN_SECONDS": 5, "MAX_WORKERS": 2, **environ}
        settings = settings_for(spool, **given)
        self.pipeline = Pipeline(settings, bucket=bucket)
        self.pipeline.start()
        self.app = create_app(settings, pipeline=lambda: self.pipeline)
        self.client = self.app.test_client()

    def post(self, value: object, path: str = "/payloads", **headers: str) -> TestResponse:
        """Post a value as JSON."""
        sent = {"Content-Type": "application/json", **headers}
        return self.client.post(path, data=json.dumps(value), headers=sent)

    def stats(self) -> dict[str, Any]:
        """Ask for /stats."""
        said: dict[str, Any] = self.client.get("/stats").get_json()
        return said

    def until(self, **figures: int) -> None:
        """Wait until /stats says so."""
        wait_until(
            lambda: figures.items() <= self.stats().items(), timeout=50, what=f"stats {figures}"
        )


Start = Callable[..., Service]


def problem(answer: TestResponse) -> dict[str, Any]:
    """Read a problem document and see that it is one."""
    assert answer.content_type == "application/problem+json"
    said: dict[str, Any] = answer.get_json()
    assert said["status"] == answer.status_code
    assert said["type"] == "about:blank"
    return said
