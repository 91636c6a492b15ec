"""A pipeline under load in a process of its own, with a bucket that outlives it."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.support import wait_until
from workers.errors import (
    Full,
    NotConfirmed,
    NotDurable,
    ObjectExists,
    ObjectMissing,
    StoreUnavailable,
)
from workers.pipeline import Pipeline
from workers.settings.settings import load_settings
from workers.spool.counters import Field
from workers.spool.disk import Disk
from workers.spool.segment_file import OPEN, READY
from workers.upload.body import ObjectBody
from workers.upload.s3 import Bucket, PutAnswer, Stored
from workers.upload.s3_client import Connection

REPOSITORY = Path(__file__).resolve().parents[3]
CLIENTS = 4


class DirectoryBucket(Bucket):
    """A bucket in a directory that outlives the cut; fails at times, and loses answers."""

    def __init__(self, path: Path) -> None:
        super().__init__(Connection.of(None))
        self._path = path
        self._rng = random.Random(os.getpid())

    def put(
        self,
        bucket: str,
        key: str,
        body: ObjectBody,
        *,
        metadata: dict[str, str],
        encoding: str | None,
    ) -> PutAnswer:
        del bucket, encoding
        if self._rng.random() < 0.05:
            raise StoreUnavailable("not now", reason="server")
        new = self._path / f".{os.getpid()}-{threading.get_ident()}"
        new.write_bytes(json.dumps(metadata).encode() + b"\n" + b"".join(body.chunks()))
        try:
            # What `If-None-Match: *` is for: of two, one gets the name.
            os.link(new, self._file(key))
        except FileExistsError as error:
            raise ObjectExists(key) from error
        finally:
            new.unlink()
        if self._rng.random() < 0.1:
            raise StoreUnavailable("the answer is lost", reason="network")
        return PutAnswer(etag="e", checksum=body.checksum)

    def head(self, bucket: str, key: str) -> Stored:
        del bucket
        try:
            note, _, body = self._file(key).read_bytes().partition(b"\n")
        except FileNotFoundError as error:
            raise ObjectMissing(key) from error
        return Stored(size=len(body), metadata=json.loads(note), etag="", modified=0.0)

    def lines(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield every stored line with its object's key and its number there."""
        for path in self._path.glob("[!.]*"):
            for number, line in enumerate(path.read_bytes().split(b"\n")[1:-1], 1):
                yield path.name.replace("~", "/"), number, line

    def _file(self, key: str) -> Path:
        return self._path / key.replace("/", "~")


def serve(spool: str, bucket: str, first_id: int) -> None:
    """Run a pipeline and clients of its own, which print their answers; until it is killed.

    After a power cut the machine has booted anew; here only the file system was cut off.
    """
    setattr(Disk, "boot_id", lambda _: os.getpid())  # noqa: B010 (mypy knows no other way)
    settings = load_settings(
        {
            "S3_BUCKET": "bucket",
            "SPOOL_DIR": spool,
            "COMPRESSION": "none",
            "OBJECT_MAX_AGE_SECONDS": "0.05",
            "OBJECT_MAX_PAYLOADS": "150",
            "MAX_QUEUE": "50",
        }
    )
    pipeline = Pipeline(settings, bucket=DirectoryBucket(Path(bucket)))
    pipeline.start()
    ids = itertools.count(first_id)
    clients = [
        threading.Thread(target=_post, args=(pipeline, ids), name=f"client-{n}")
        for n in range(CLIENTS if first_id else 0)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    if not clients:
        wait_until(lambda: _is_done(pipeline), timeout=30, what="an empty spool")
        totals = pipeline.totals()
        pipeline.stop()
        print(json.dumps([totals[Field.ACCEPTED], totals[Field.STORED], totals[Field.DEAD]]))


def _is_done(pipeline: Pipeline) -> bool:
    """Whether all is stored: counted so, and no file is left that is not counted yet."""
    left = [path for path in pipeline.spool.root.glob("*/*") if path.suffix in (OPEN, READY)]
    return not left and pipeline.totals().pending == 0


def _post(pipeline: Pipeline, ids: Iterator[int]) -> None:
    """Post until the disk is gone; print each answer in one write, so that it is whole."""
    rng = random.Random()
    while True:
        numbers = [next(ids) for _ in range(rng.choice((1, 1, 3, 10)))]
        lines = b"".join(b'{"id":%d,"pad":"%b"}\n' % (n, b"x" * (n % 300)) for n in numbers)
        try:
            receipts = pipeline.take("s", lines, count=len(numbers)).result()
        except (NotConfirmed, NotDurable):
            return
        except Full:
            time.sleep(0.001)
            continue
        answered = [[receipt.header.key, receipt.first_line, receipt.count] for receipt in receipts]
        os.write(1, json.dumps([numbers, answered]).encode() + b"\n")


class Service:
    """`serve` in a process of its own."""

    def __init__(self, spool: Path, bucket: Path, *, first_id: int = 0) -> None:
        call = "import sys; from tests.chaos.ext4.service import serve; serve(*sys.argv[1:3], "
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{call}{first_id})", str(spool), str(bucket)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def answers(self) -> Iterator[Any]:
        """Yield what it prints, until it ends; blocks."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)

    def halt(self) -> None:
        """Stop it where it is, so that it answers nothing after the cut.

        A power cut stops the processor too. Without this it could see a sync succeed that the cut
        fell into: a kernel whose journal was aborted meanwhile may say so.
        """
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
