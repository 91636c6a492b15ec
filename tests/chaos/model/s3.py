"""S3 in the model: a bucket in memory that fails at random, and a backoff that does not wait."""

from collections.abc import Iterator
from random import Random

from tests.chaos.model.findings import Place
from tests.chaos.model.fuse import Fuse
from tests.support.doubles import DictBucket
from workers.errors import StoreUnavailable
from workers.segments.naming import DEAD_PREFIX
from workers.upload.body import ObjectBody
from workers.upload.compression import unpack
from workers.upload.s3 import PutAnswer, Stored
from workers.upload.s3_errors import REASONS

# With a third of all PUTs failing, this many failures in a row mean that none will get through.
MAX_ATTEMPTS = 200
PAGE = b"<html>Please log in</html>"


class MemoryS3(DictBucket):
    """A bucket in memory that fails, loses answers, and now and then keeps half a body.

    Of all calls 20 % fail with nothing done; of those that do something 15 % lose their answer. Of
    all PUTs 3 % find a captive portal before it, which answers all calls for a while.
    """

    def __init__(self, *, rng: Random, fuse: Fuse, conditional: bool = True) -> None:
        super().__init__(conditional=conditional)
        self._rng = rng
        self._fuse = fuse
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
        self._begin()
        self._portal = self._rng.random() < (0.5 if self._portal else 0.03)
        if self._portal:
            return PutAnswer(etag=self._rng.choice(["", "page"]), has_content=True)
        # S3 does no such thing; some that speak its protocol have.
        cut_off = self._rng.random() < 0.03
        if cut_off:
            sent = b"".join(body.chunks())
            body = ObjectBody.of(sent[: self._rng.randint(0, len(sent))])
        answer = super().put(bucket, key, body, metadata=metadata, encoding=encoding)
        if cut_off:
            raise StoreUnavailable("cut off", reason="network")
        self._end()
        return answer

    def put_note(self, bucket: str, key: str, content: bytes) -> None:
        self._begin()
        super().put_note(bucket, key, content)
        self._end()

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
        self._begin()
        answer = super().replace(bucket, key, body, etag=etag, metadata=metadata, encoding=encoding)
        self._end()
        return answer

    def head(self, bucket: str, key: str) -> Stored:
        self._begin()
        if self._portal:
            return Stored(size=len(PAGE), metadata={}, etag=None, modified=None)
        return super().head(bucket, key)

    def read(self, bucket: str, key: str) -> Iterator[bytes]:
        self._begin()
        yield PAGE if self._portal else self.get(bucket, key)[0]

    def lines(self) -> Iterator[tuple[Place, bytes]]:
        """Yield every line that is stored, and where.

        Raises:
            AssertionError: an object is not whole.
        """
        for key, (body, _, encoding) in self.objects.items():
            if key.startswith(DEAD_PREFIX):
                continue
            try:
                text = unpack(body, compression=encoding)
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


class NeverThroughError(Exception):
    """S3 has refused the same object again and again."""
