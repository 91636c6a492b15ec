"""A process's part in a watermark on a bench, and what is in the bucket of it."""

import json
from typing import Any

from tests.support.bench import Bench
from tests.support.doubles import DictBucket
from workers.watermarks.spool_watermark import SpoolWatermark


def watermark_of(bench: Bench) -> SpoolWatermark:
    """Make a process's part in the watermark."""
    return SpoolWatermark(
        bench.spool,
        bucket=bench.bucket,
        settings=bench.settings,
        own=lambda: bench.store.own,
        adoption=bench.adoption,
        opened_from=bench.intake.opened_from,
    )


def notes(bucket: DictBucket) -> list[dict[str, Any]]:
    """Return the watermarks in the bucket."""
    found = bucket.objects.items()
    return [json.loads(body) for key, (body, _, _) in found if key.startswith("_watermark/")]


def through(bucket: DictBucket) -> str:
    """Return what the one watermark says."""
    [note] = notes(bucket)
    said: str = note["through"]
    return said
