"""What the uploader left in the bucket and on the disk."""

import json
from typing import Any

from tests.support.bench import Bench
from tests.support.doubles import DictBucket
from workers.errors import (
    StoreUnavailable,
)
from workers.segments.segment import Receipt
from workers.upload.compression import unpack

AWAY = StoreUnavailable("SlowDown", reason="throttled")


def lines_of(bucket: DictBucket, receipt: Receipt) -> list[bytes]:
    """Read the lines of a receipt's object."""
    body, _, encoding = bucket.objects[receipt.header.key]
    return unpack(body, compression=encoding).splitlines()


def letters(bench: Bench) -> list[dict[str, Any]]:
    """Read the notes of the dead letters."""
    paths = sorted((bench.spool.root / "dead").glob("*.json"))
    return [json.loads(path.read_bytes()) for path in paths]


def spoil(bench: Bench, old: bytes, new: bytes) -> None:
    """Change some bytes in every ready file of the bench's spool."""
    for path in bench.process_spool.path.glob("*.ready"):
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))
