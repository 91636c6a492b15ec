"""S3 in the model: a bucket in memory that fails at random, and a backoff that does not wait."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.chaos.model.findings import Place
from tests.chaos.model.fuse import Fuse
from workers.errors import (
    ObjectExists,
    ObjectMissing,
    StoreUnavailable,
)
from workers.segments.naming import DEAD_PREFIX
from workers.upload.body import ObjectBody
from workers.upload.compression import unpack
from workers.upload.s3 import Bucket, PutAnswer, Stored
from workers.upload.s3_client import Connection
from workers.upload.s3_errors import REASONS

# With a third of all PUTs failing, this many failures in a row mean that none will get through.
MAX_ATTEMPTS = 200
PAGE = b"<html>Please log in</html>"


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    metadata: dict[str, str]
    encoding: str | None
    etag: str


class MemoryS3(Bucket):
    """A bucket in memory that fails, loses answers, and now and then keeps half a body.

    Of all calls 20 % fail with nothing done; of those that do something 15 % lose their answer. Of
    all PUTs 3 % find a captive portal before it, which answers all calls for a while.
    """

    def __init__(self, *, rng: Random, fuse: Fuse, conditional: bool = True) -> None:
        super().__init__(Connection.of(None), conditional=conditional)
        self.objects: dict[str, _Object] = {}
        self._rng = rng
        self._fuse = fuse
        self._puts = 0
        self._portal = False

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
        self._begin()
        self._portal = self._rng.random() < (0.5 if self._portal else 0.03)
        if self._portal:
            return PutAnswer(etag=self._rng.choice(["", "page"]), has_content=True)
        if self._conditional and key in self.objects:
            raise ObjectExists(key)
        if self._rng.random() < 0.03:
            # S3 does no such thing; some that speak its protocol have.
            sent = b"".join(body.chunks())
            self._keep(key, sent[: self._rng.randint(0, len(sent))], metadata, encoding)
            raise StoreUnavailable("cut off", reason="network")
        answer = self._keep(key, b"".join(body.chunks()), metadata, encoding)
        self._end()
        return answer

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
        del bucket
        self._begin()
        if self._get(key).etag != etag:
            raise StoreUnavailable("changed meanwhile", reason="other")
        answer = self._keep(key, b"".join(body.chunks()), metadata, encoding)
        self._end()
        return answer

    def head(self, bucket: str, key: str) -> Stored:
        del bucket
        self._begin()
        if self._portal:
            return Stored(size=len(PAGE), metadata={}, etag=None, modified=None)
        found = self._get(key)
        return Stored(size=len(found.body), metadata=found.metadata, etag=found.etag, modified=0.0)

    def read(self, bucket: str, key: str) -> Iterator[bytes]:
        del bucket
        self._begin()
        yield PAGE if self._portal else self._get(key).body

    def lines(self) -> Iterator[tuple[Place, bytes]]:
        """Yield every line that is stored, and where.

        Raises:
            AssertionError: an object is not whole.
        """
        for key, found in self.objects.items():
            if key.startswith(DEAD_PREFIX):
                continue
            try:
                text = unpack(found.body, compression=found.encoding)
            except Exception as error:
                raise AssertionError(f"{key} is not whole") from error
            for number, line in enumerate(text.split(b"\n")[:-1], 1):
                yield Place(key, number), line

    def _begin(self) -> None:
        self._fuse.burn()
        if self._rng.random() < 0.2:
            raise StoreUnavailable("not now", reason=self._rng.choice(REASONS))

    def _end(self) -> None:
        self._fuse.burn()
        if self._rng.random() < 0.15:
            raise StoreUnavailable("the answer is lost", reason="network")

    def _get(self, key: str) -> _Object:
        if key not in self.objects:
            raise ObjectMissing(key)
        return self.objects[key]

    def _keep(
        self, key: str, body: bytes, metadata: dict[str, str], encoding: str | None
    ) -> PutAnswer:
        self._puts += 1
        self.objects[key] = _Object(body, metadata, encoding, str(self._puts))
        return PutAnswer(etag=str(self._puts), checksum=ObjectBody.of(body).checksum)


class NeverThroughError(Exception):
    """S3 has refused the same object again and again."""
