"""The power cut on a real file system: ext4 on a loop device is shut down under a real pipeline.

Needs root, loop devices and mkfs.ext4; skips, with the reason, where one is missing. The ioctl
loses what ext4 has not written or not journalled; it cannot lose what a disk says it has.
"""

import fcntl
import itertools
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

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
from workers.settings import load_settings
from workers.spool.counters import Field
from workers.spool.disk import Disk
from workers.spool.segment_file import OPEN, READY
from workers.upload.body import ObjectBody
from workers.upload.s3 import Bucket, PutAnswer, Stored
from workers.upload.s3_client import Connection

pytestmark = pytest.mark.chaos

REPOSITORY = Path(__file__).resolve().parents[2]
# linux/fs/ext4/ext4.h: _IOR('X', 125, __u32), and what it does with the journal at the end
EXT4_IOC_SHUTDOWN = 0x8004587D
LOGFLUSH, NOLOGFLUSH = 1, 2
CLIENTS = 4


# --- The file system ------------------------------------------------------------------------------


class Ext4:
    """A small ext4 in a file, on a loop device."""

    def __init__(self, image: Path, mountpoint: Path) -> None:
        self._image = image
        self.path = mountpoint
        image.touch()
        os.truncate(image, 64 << 20)
        mountpoint.mkdir()
        _run("mkfs.ext4", "-q", "-F", str(image))

    def mount(self) -> None:
        """Mount it; after a cut the journal is replayed."""
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def cut(self, how: int) -> None:
        """Stop everything that goes to the disk, from this instant on."""
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(directory)

    def unmount(self) -> None:
        """Unmount it, if need be from under whoever still uses it."""
        if os.path.ismount(self.path):
            busy = subprocess.run(["umount", self.path], capture_output=True, check=False)
            if busy.returncode:
                _run("umount", "-l", str(self.path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Ext4]:
    """Mount a fresh ext4, or skip."""
    if os.geteuid() != 0:
        pytest.skip("a real power cut needs root (loop mount)")
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("a real power cut needs mkfs.ext4 (e2fsprogs)")
    disk = Ext4(tmp_path / "image", tmp_path / "ext4")
    try:
        disk.mount()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a real power cut needs loop devices: {error.stderr.strip()}")
    try:
        yield disk
    finally:
        disk.unmount()


# --- The process that runs on it ------------------------------------------------------------------


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
    """Whether all is stored: counted so, and no file left that nobody has counted yet."""
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
        told = [[receipt.header.key, receipt.first_line, receipt.count] for receipt in receipts]
        os.write(1, json.dumps([numbers, told]).encode() + b"\n")


# --- Tests ----------------------------------------------------------------------------------------


class Service:
    """`serve` in a process of its own."""

    def __init__(self, spool: Path, bucket: Path, *, first_id: int = 0) -> None:
        call = (
            "import sys; from tests.chaos.test_power_cut_real import serve; serve(*sys.argv[1:3], "
        )
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
        """Stop it where it is, so that it tells nobody anything after the cut.

        A power cut stops the processor too. Without this it could see a sync succeed that the cut
        fell into: a kernel whose journal was aborted meanwhile may say so.
        """
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


def test_what_ext4_had_synced_is_stored_once_after_cuts(ext4: Ext4, tmp_path: Path) -> None:
    """Three cuts under load, journal flushed or not: every acknowledged payload is stored once."""
    objects = tmp_path / "bucket"
    objects.mkdir()
    acknowledged: dict[int, tuple[str, int]] = {}
    for life, how in enumerate((NOLOGFLUSH, LOGFLUSH, NOLOGFLUSH), 1):
        with Service(ext4.path / "spool", objects, first_id=life * 1_000_000) as service:
            for count, (numbers, receipts) in enumerate(service.answers()):
                lines = [(key, first + n) for key, first, many in receipts for n in range(many)]
                acknowledged.update(zip(numbers, lines, strict=True))
                if count == 300 * life:
                    service.halt()
                    ext4.cut(how)
                    service.kill()
        ext4.unmount()
        ext4.mount()
    with Service(ext4.path / "spool", objects) as service:
        ((accepted, stored, dead),) = service.answers()
    found: dict[int, list[tuple[str, int]]] = {}
    for key, number, line in DirectoryBucket(objects).lines():
        found.setdefault(json.loads(line)["id"], []).append((key, number))
    assert len(acknowledged) > 1500
    assert {number: found.get(number) for number in acknowledged} == {
        number: [place] for number, place in acknowledged.items()
    }
    assert [number for number, places in found.items() if len(places) > 1] == []
    assert (accepted, dead) == (stored, 0)


def test_the_cut_takes_what_is_not_synced(ext4: Ext4) -> None:
    """What this file rests on: of two files, the one that was not synced is gone or empty."""
    for name in ("kept", "gone"):
        with (ext4.path / name).open("wb") as file:
            file.write(b"x" * 5000)
            file.flush()
            if name == "kept":
                os.fsync(file.fileno())
    ext4.cut(NOLOGFLUSH)
    ext4.unmount()
    ext4.mount()
    assert (ext4.path / "kept").read_bytes() == b"x" * 5000
    gone = ext4.path / "gone"
    assert not gone.exists() or gone.read_bytes() != b"x" * 5000
