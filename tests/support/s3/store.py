"""The buckets, and the operations of S3 on them."""

import base64
import bisect
import time
from collections.abc import Iterable, Iterator, Mapping

from tests.support.s3.bodies import CHECKSUMS, etag_of, verify
from tests.support.s3.messages import Answer, Request, S3Error
from tests.support.s3.objects import StoredObject
from tests.support.s3.reading import check_precondition, cut_range, list_answer, object_headers

MAX_KEY_BYTES = 1024


class Bucket:
    """The objects of one bucket, and how often each key was stored, deletions notwithstanding."""

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}
        self._stored: dict[str, tuple[int, int]] = {}
        self._sorted: list[str] | None = []

    def store(self, request: Request, body: bytes, checksums: Mapping[str, str]) -> StoredObject:
        """Keep a body under the request's key, in place of what was there."""
        headers = request.headers
        created, overwritten = self._stored.get(request.key, (0, 0))
        counts = created, overwritten + 1
        if request.key not in self.objects:
            counts, self._sorted = (created + 1, overwritten), None
        self._stored[request.key] = counts
        self.objects[request.key] = stored = StoredObject(
            body=body,
            content_type=headers.get("content-type", "binary/octet-stream"),
            content_encoding=headers.get("content-encoding", ""),
            metadata={n[11:]: v for n, v in headers.items() if n.startswith("x-amz-meta-")},
            checksums=checksums,
            etag=etag_of(body),
            modified=time.time(),
            created_count=counts[0],
            overwritten_count=counts[1],
            put_headers=headers,
        )
        return stored

    def remove(self, key: str) -> None:
        """Delete a key; one that is not there is as good as deleted."""
        if self.objects.pop(key, None):
            self._sorted = None

    def keys_after(self, start: str, prefix: str) -> Iterator[str]:
        """Yield, in order, the keys with a prefix that come after `start`."""
        if self._sorted is None:
            self._sorted = sorted(self.objects)
        keys = self._sorted
        first = max(bisect.bisect_right(keys, start), bisect.bisect_left(keys, prefix))
        for index in range(first, len(keys)):
            if not keys[index].startswith(prefix):
                return
            yield keys[index]


class Store:
    """All buckets, and the operations on them. No I/O, so that one event loop needs no lock."""

    QUERY = frozenset(
        {"x-id", "list-type", "prefix", "max-keys", "continuation-token", "start-after"}
        | {"encoding-type", "fetch-owner"}
    )

    def __init__(self, buckets: Iterable[str]) -> None:
        self.buckets = {name: Bucket() for name in buckets}
        self.stored = 0

    def perform(self, request: Request, body: bytes) -> Answer:
        """Carry out a request that has arrived whole.

        Raises:
            S3Error: the answer is not 2xx.
        """
        # An operation of S3 that is not here (ACLs, multipart, …) must not pass for one that is.
        if unknown := request.query.keys() - self.QUERY:
            raise S3Error(501, "NotImplemented", f"This server does not know {sorted(unknown)}.")
        if request.method == "PUT" and not request.key:
            return self._create_bucket(request)
        operations = {
            ("HEAD", False): self._head_bucket,
            ("GET", False): self._list,
            ("HEAD", True): self._get,
            ("GET", True): self._get,
            ("DELETE", True): self._delete,
        }
        if request.method == "PUT":
            return self._put(request, body)
        if operation := operations.get((request.method, bool(request.key))):
            return operation(request)
        raise S3Error(405, "MethodNotAllowed")

    def keep(self, request: Request, body: bytes, checksums: Mapping[str, str]) -> StoredObject:
        """Store an object if the request's preconditions allow it.

        Raises:
            S3Error: they do not, or the bucket is missing.
        """
        bucket = self._bucket(request)
        check_precondition(request.headers, bucket.objects.get(request.key))
        self.stored += 1
        return bucket.store(request, body, checksums)

    def keep_part(self, request: Request, body: bytes) -> None:
        """Store a piece of an object as if it were all of it, digests included.

        Raises:
            S3Error: as `keep`.
        """
        given = [name for name in request.headers if name in CHECKSUMS]
        self.keep(request, body, {name: CHECKSUMS[name](body) for name in given})

    def _bucket(self, request: Request) -> Bucket:
        try:
            return self.buckets[request.bucket]
        except KeyError:
            raise S3Error(404, "NoSuchBucket", "The specified bucket does not exist.") from None

    def _create_bucket(self, request: Request) -> Answer:
        # In us-east-1 creating one's own bucket again is a 200.
        self.buckets.setdefault(request.bucket, Bucket())
        return Answer(200, {"Location": f"/{request.bucket}"})

    def _head_bucket(self, request: Request) -> Answer:
        self._bucket(request)
        return Answer(200, {"x-amz-bucket-region": "us-east-1"})

    def _put(self, request: Request, body: bytes) -> Answer:
        if len(request.key.encode()) > MAX_KEY_BYTES:
            raise S3Error(400, "KeyTooLongError", "Your key is too long")
        stored = self.keep(request, body, verify(request.headers, body))
        return Answer(200, {"ETag": stored.etag, **stored.checksums})

    def _get(self, request: Request) -> Answer:
        stored = self._bucket(request).objects.get(request.key)
        if stored is None:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
        headers = object_headers(request, stored)
        if "range" not in request.headers:
            return Answer(200, headers, stored.body)
        body, content_range = cut_range(request.headers["range"], stored.body)
        return Answer(206, {**headers, "Content-Range": content_range}, body)

    def _delete(self, request: Request) -> Answer:
        self._bucket(request).remove(request.key)
        return Answer(204)

    def _list(self, request: Request) -> Answer:
        bucket, query = self._bucket(request), request.query
        if query.get("list-type") != "2":
            raise S3Error(501, "NotImplemented", "Only ListObjectsV2.")
        token = base64.urlsafe_b64decode(query.get("continuation-token", "")).decode()
        limit = min(1000, int(query.get("max-keys", 1000)))
        after = token or query.get("start-after", "")
        keys: list[str] = []
        for key in bucket.keys_after(after, query.get("prefix", "")):
            if len(keys) == limit:
                return list_answer(request, bucket.objects, keys, more=True)
            keys.append(key)
        return list_answer(request, bucket.objects, keys, more=False)
