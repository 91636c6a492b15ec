"""A consumer that goes by the watermarks: it holds what it finds against what clients were told.

Knows the bucket and the receipts, and nothing of the service.
"""

import json
import re
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Self

import boto3
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from tests.support import wait_until
from tests.support.flood import Flood
from tests.support.s3 import FakeS3

PREFIX = "_watermark/"
SAMPLE_SECONDS = 0.1
# The creation of an object's segment, which is the arrival of its payloads, is in its name.
CREATED = re.compile(r"(\d{8}T\d{12})Z-[0-9a-f]{16}")


def created_at(key: str) -> datetime:
    """Return when the segment of an object was created."""
    found = CREATED.search(key)
    assert found is not None, key
    return datetime.strptime(found[1] + "+0000", "%Y%m%dT%H%M%S%f%z")


class WatermarkWatch:
    """Reads all watermarks, then all keys, again and again, in a thread; complains at the end."""

    def __init__(self, s3: FakeS3) -> None:
        self.samples: list[datetime] = []
        self._s3 = s3
        self._client = client_of(s3)
        # The number of the first sample whose listing had the key.
        self._first_seen: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def await_through(self, moment: datetime) -> None:
        """Block until a sample says that all before a moment is there."""
        wait_until(
            lambda: bool(self.samples) and self.samples[-1] > moment, timeout=60, what="watermark"
        )

    def complaints(self, floods: Iterable[Flood]) -> Iterator[str]:
        """Yield what a consumer that goes by the least watermark would have missed."""
        receipts = [r for flood in floods for outcome in flood.outcomes for r in outcome.receipts]
        keys = {receipt.object.split("/", 3)[3] for receipt in receipts}
        newest = max(map(created_at, keys))
        self.await_through(newest)
        samples = list(self.samples)
        if samples != sorted(samples):
            yield "watermark: it fell, though no clock was set back"
        steps = sum(before < newest for before in set(samples))
        if steps < 3:
            yield f"watermark: {steps} different ones while payloads came are too few to tell"
        for key in keys:
            first = next(n for n, through in enumerate(samples) if through > created_at(key))
            if self._first_seen.get(key, len(samples)) > first:
                yield f"watermark: {samples[first]} was said, and {key} was not there"

    def _run(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            try:
                least = least_through(self._client, self._s3.bucket)
            except (BotoCoreError, ClientError):
                # The fake S3 fails reading clients too.
                continue
            if least is None:
                continue
            number = len(self.samples)
            for key in self._s3.all_keys():
                self._first_seen.setdefault(key, number)
            self.samples.append(least)


def least_through(client: Any, bucket: str) -> datetime | None:
    """Return up to when the bucket is complete; None where there is no watermark."""
    found = client.list_objects_v2(Bucket=bucket, Prefix=PREFIX).get("Contents", [])
    notes = [
        json.loads(client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())
        for each in found
        if each["Key"].endswith(".json")
    ]
    return min((datetime.fromisoformat(note["through"]) for note in notes), default=None)


def client_of(s3: FakeS3) -> BaseClient:
    """Make a client of the fake S3."""
    environ = s3.environ()
    return boto3.client(
        "s3",
        endpoint_url=environ["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id="consumer",
        aws_secret_access_key="consumer",
        region_name=environ["AWS_REGION"],
    )
