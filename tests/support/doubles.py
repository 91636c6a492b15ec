"""Working doubles of the pipeline's edges: a bucket in a dict, disks that fail on demand."""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workers.errors import ObjectExists, ObjectMissing, StoreUnavailable
from workers.spool.disk import Disk
from workers.upload.body import ObjectBody
from workers.upload.s3 import Bucket, PutAnswer, Stored
from workers.upload.s3_client import Connection


class DictBucket(Bucket):
    """A bucket in a dict. `trouble` holds what the next PUTs raise, None being one that works.

    A PUT in `lost_answers` (counted from 1) takes effect, and then the connection breaks; of one in
    `keeps_half` only half the body is kept.
    """

    def __init__(self, *, conditional: bool = True) -> None:
        super().__init__(Connection.of(None), conditional=conditional)
        self.objects: dict[str, tuple[bytes, dict[str, str], str | None]] = {}
        self.trouble: deque[Exception | None] = deque()
        self.lost_answers: set[int] = set()
        self.keeps_half: set[int] = set()
        self.puts = 0
        # Called in each PUT, before it takes effect.
        self.before_put: Callable[[], None] | None = None

    def put(
        self,
        bucket: str,
        key: str,
        body: ObjectBody,
        *,
        metadata: dict[str, str],
        encoding: str | None,
    ) -> PutAnswer:
        del bucket
        self._begin_put()
        if self._conditional and key in self.objects:
            raise ObjectExists(key)
        sent = b"".join(body.chunks())
        kept = sent[: len(sent) // 2] if self.puts in self.keeps_half else sent
        self.objects[key] = kept, metadata, encoding
        if self.puts in self.lost_answers:
            raise StoreUnavailable("reset", reason="network")
        return PutAnswer(etag=str(hash(kept)), checksum=ObjectBody.of(kept).checksum)

    def put_note(self, bucket: str, key: str, content: bytes) -> None:
        del bucket
        self._begin_put()
        self.objects[key] = content, {}, None
        if self.puts in self.lost_answers:
            raise StoreUnavailable("reset", reason="network")

    def swap_note(self, bucket: str, key: str, content: bytes, *, etag: str | None) -> str | None:
        found = self.head(bucket, key).etag if key in self.objects else None
        if self._conditional and found != etag:
            raise ObjectExists(key)
        self.put_note(bucket, key, content)
        return str(hash(content))

    def replace(
        self,
        bucket: str,
        key: str,
        body: ObjectBody,
        *,
        etag: str | None,
        metadata: dict[str, str],
        encoding: str | None,
    ) -> PutAnswer:
        if etag != DictBucket.head(self, bucket, key).etag:
            raise StoreUnavailable("changed meanwhile", reason="other")
        sent = b"".join(body.chunks())
        self.objects[key] = sent, metadata, encoding
        return PutAnswer(etag=str(hash(sent)), checksum=body.checksum)

    def head(self, bucket: str, key: str) -> Stored:
        body, encoding = self.get(bucket, key)
        del encoding
        metadata = self.objects[key][1]
        return Stored(size=len(body), metadata=metadata, etag=str(hash(body)), modified=1.5)

    def get(self, bucket: str, key: str, *, most: int = 0) -> tuple[bytes, str | None]:
        del bucket
        if key not in self.objects:
            raise ObjectMissing(key)
        body, _, encoding = self.objects[key]
        return body[: most or None], encoding

    def read(self, bucket: str, key: str) -> Iterator[bytes]:
        yield self.get(bucket, key)[0]

    def delete(self, bucket: str, key: str) -> None:
        del bucket
        self.objects.pop(key, None)

    def _begin_put(self) -> None:
        self.puts += 1
        if self.before_put is not None:
            self.before_put()
        error = self.trouble.popleft() if self.trouble else None
        if error is not None:
            raise error


class QuickDisk(Disk):
    """A disk that answers for a sync at once: nothing is cut off here, and many are asked for."""

    def sync(self, file: int) -> None:
        del file

    def sync_names(self, directory: int) -> None:
        del directory


class BadDisk(Disk):
    """A real disk that is full, or fails to sync, on demand; `log` has what was done to it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.free: int | None = None
        self.full = False
        self.failing = False

    def free_bytes(self, path: Path) -> int:
        return super().free_bytes(path) if self.free is None else self.free

    def write_at(self, file: int, buffers: Any, start: int) -> int:
        self.log.append("write")
        if self.full:
            # As a disk that fills up in the middle of a write.
            os.pwrite(file, buffers[0][:3], start)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write_at(file, buffers, start)

    def sync(self, file: int) -> None:
        self.log.append("sync")
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(file)

    def sync_everything(self, file: int) -> None:
        self.log.append("sync_everything")
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync_everything(file)

    def sync_names(self, directory: int) -> None:
        self.log.append("sync_names")
        super().sync_names(directory)
