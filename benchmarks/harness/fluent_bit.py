"""Fluent Bit as a contender: its command line, and its figures as the bench counts them."""

import contextlib
import http.client
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import LOOPBACK
from tests.support.processes import free_port
from tests.support.s3 import FakeS3
from tests.support.service import Service

PROGRAM = "fluent-bit"
# An object of as many lines as one of ours at its default size: gzip makes them six times smaller.
OBJECT_BYTES = "48M"
# The largest body it takes; the default is 4 MB.
BODY_BYTES = "16M"
# Its monitor publishes new figures this often.
MONITOR_SECONDS = 1.2


class FluentBit(Service):
    """Fluent Bit from HTTP to S3, gzip, buffered in memory, with its defaults otherwise.

    It reads an array of payloads as so many records. What it has stored is what its monitor counts,
    less the lines in the files in which its S3 output collects an object.
    """

    def __init__(self, workdir: Path, s3: FakeS3, *, settings: Mapping[str, str]) -> None:
        super().__init__(workdir, s3, settings=settings)
        self._monitor = free_port()
        self._store = workdir / "store"

    def command(self) -> Sequence[str]:
        """Return what is executed, and its arguments."""
        taken = {"listen": LOOPBACK, "port": self.port, "buffer_max_size": BODY_BYTES}
        given = {
            "match": "*",
            "bucket": self._s3.bucket,
            "endpoint": self._s3.endpoint,
            "region": "us-east-1",
            "use_put_object": "on",
            "compression": "gzip",
            "total_file_size": OBJECT_BYTES,
            "upload_timeout": "1s",
            "store_dir": self._store,
        }
        monitor = ["-H", "-L", LOOPBACK, "-P", str(self._monitor)]
        return [
            *(PROGRAM, "-q", *monitor),
            *("-i", "http", *_properties(taken)),
            *("-o", "s3", *_properties(given)),
        ]

    def stats(self) -> dict[str, Any]:
        """Return `accepted` and `stored` records; blocks until its monitor has had time for them.

        Raises:
            OSError, http.client.HTTPException: its monitor does not answer, or has no figures yet.
        """
        time.sleep(MONITOR_SECONDS)
        answer = self.get("/api/v1/metrics", port=self._monitor)
        if answer.body in {b"", b"{}"}:
            raise ConnectionError("no figures yet")
        seen = answer.json()
        accepted = sum(one["records"] for one in seen["input"].values())
        gathered = sum(one["proc_records"] for one in seen["output"].values())
        return {"accepted": accepted, "stored": gathered - self._waiting()}

    def _waiting(self) -> int:
        """Estimate the lines in its files by their sizes and the length of a first line."""
        lines = 0
        for path in self._store.glob("*/*T*/*"):
            # It deletes a file once that is an object.
            with contextlib.suppress(OSError), path.open("rb") as file:
                first = len(file.readline())
                lines += path.stat().st_size // first if first else 0
        return lines

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.stats()
            return self.get("/").status > 0
        return False


def _properties(named: Mapping[str, object]) -> list[str]:
    return [word for name, value in named.items() for word in ("-p", f"{name}={value}")]
