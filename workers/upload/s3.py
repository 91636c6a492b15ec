"""The one place that talks to boto3: four calls on a bucket, and what their failures mean."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.exceptions
from botocore import handlers
from botocore.config import Config

from workers.errors import (
    ObjectExists,
    ObjectMissing,
    ObjectRejected,
    StoreError,
    StoreUnavailable,
)
from workers.settings import Settings

log = logging.getLogger(__name__)

# Words for why a PUT failed, as in the metrics.
REASONS = ("throttled", "denied", "bucket", "server", "network", "other")
# S3's error codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# Only these condemn the object itself; an operator can mend anything else.
_REJECTED = frozenset({"EntityTooLarge", "KeyTooLongError", "MetadataTooLarge", "InvalidURI"})
_THROTTLED = frozenset({"SlowDown", "Throttling", "RequestLimitExceeded", "TooManyRequests"})
_BUCKET = frozenset({"NoSuchBucket", "PermanentRedirect", "IllegalLocationConstraintException"})
_NETWORK = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.ReadTimeoutError,
    OSError,
)
_BROKEN_READ = (
    *_NETWORK,
    botocore.exceptions.ResponseStreamingError,
    botocore.exceptions.IncompleteReadError,
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What HEAD says of an object. `modified` is seconds since 1970."""

    size: int
    metadata: dict[str, str]
    etag: str
    modified: float


class Bucket:
    """S3 through one shared client. Every method blocks on the network, at most ~20 s a call.

    Raises:
        StoreUnavailable: what failed may pass. Other `StoreError`s where a method names them.
    """

    def __init__(self, client: Any, *, conditional: bool = True) -> None:
        self._client = client
        self._conditional = conditional

    @classmethod
    def connect(cls, settings: Settings) -> "Bucket":
        """Make the process's one client. Call it after the fork; opens no connection yet."""
        config = Config(
            # Our own retry outlasts an outage; botocore's quota would run dry in one.
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=3,
            read_timeout=15,
            max_pool_connections=settings.max_workers + 2,
            tcp_keepalive=True,
        )
        # boto3 itself reads AWS_DEFAULT_REGION; every other AWS SDK reads AWS_REGION.
        client = boto3.session.Session(region_name=settings.aws_region).client("s3", config=config)
        # A server that ignores `Expect: 100-continue` would cost a second per PUT.
        client.meta.events.unregister("before-call.s3", handlers.add_expect_header)
        return cls(client, conditional=settings.s3_conditional_put)

    def put(
        self, bucket: str, key: str, body: bytes, *, metadata: dict[str, str], encoding: str | None
    ) -> None:
        """Store an object, unless the key is taken.

        Raises:
            ObjectExists, ObjectRejected: see there.
        """
        extra: dict[str, str] = {}
        if encoding:
            extra["ContentEncoding"] = encoding
        if self._conditional:
            extra["IfNoneMatch"] = "*"
        self._put(bucket, key, body, metadata=metadata, extra=extra)

    def replace(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        etag: str,
        metadata: dict[str, str],
        encoding: str | None,
    ) -> None:
        """Overwrite the very object that has `etag`."""
        extra = {"ContentEncoding": encoding} if encoding else {}
        try:
            self._put(bucket, key, body, metadata=metadata, extra={**extra, "IfMatch": etag})
        except ObjectExists as error:
            raise StoreUnavailable(f"changed meanwhile: {error}", reason="other") from error

    def head(self, bucket: str, key: str) -> Stored:
        """Look at an object without reading it.

        Raises:
            ObjectMissing: there is none.
        """
        answer = self._call("head_object", Bucket=bucket, Key=key)
        return Stored(
            size=answer["ContentLength"],
            metadata=answer["Metadata"],
            etag=answer["ETag"],
            modified=answer["LastModified"].timestamp(),
        )

    def get(self, bucket: str, key: str, *, most: int = 0) -> tuple[bytes, str | None]:
        """Read an object, or its first `most` bytes; returns them and its content encoding.

        Raises:
            ObjectMissing: there is none.
        """
        extra = {"Range": f"bytes=0-{most - 1}"} if most else {}
        answer = self._call("get_object", Bucket=bucket, Key=key, **extra)
        try:
            return answer["Body"].read(), answer.get("ContentEncoding")
        except _BROKEN_READ as error:
            raise StoreUnavailable(str(error), reason="network") from error

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        self._call("delete_object", Bucket=bucket, Key=key)

    def list(self, bucket: str, prefix: str = "") -> Iterator[tuple[str, float]]:
        """Yield keys and when they were modified, seconds since 1970."""
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
            for found in page.get("Contents", []):
                yield found["Key"], found["LastModified"].timestamp()
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _put(
        self, bucket: str, key: str, body: bytes, *, metadata: dict[str, str], extra: dict[str, str]
    ) -> None:
        try:
            self._call(
                "put_object",
                Bucket=bucket,
                Key=key,
                Body=body,
                Metadata=metadata,
                ContentType="application/x-ndjson",
                **extra,
            )
        except ObjectMissing as error:
            raise StoreUnavailable(str(error), reason="bucket") from error

    def _call(self, method: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, method)(**arguments)
        except botocore.exceptions.ClientError as error:
            raise _meaning(error) from error
        except botocore.exceptions.ParamValidationError as error:
            # Of what we hand it only the bucket's name comes from outside.
            raise StoreUnavailable(str(error), reason="bucket") from error
        except botocore.exceptions.NoCredentialsError as error:
            raise StoreUnavailable(str(error), reason="denied") from error
        except _NETWORK as error:
            raise StoreUnavailable(str(error), reason="network") from error
        except Exception as error:
            # botocore parses what any server sends: no answer of one may end a worker.
            raise StoreUnavailable(f"{type(error).__name__}: {error}", reason="other") from error


def _meaning(error: botocore.exceptions.ClientError) -> StoreError:
    """Tell what an error answer means for the object. HEAD answers have a status and no code."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = str(error)
    if code in _BUCKET:
        return StoreUnavailable(text, reason="bucket")
    if code == "PreconditionFailed" or status == 412:
        return ObjectExists(text)
    if code in ("NoSuchKey", "NotFound", "404") or status == 404:
        return ObjectMissing(text)
    if code in _REJECTED:
        return ObjectRejected(text)
    if code in _THROTTLED or status == 429:
        return StoreUnavailable(text, reason="throttled")
    if status in (401, 403):
        return StoreUnavailable(text, reason="denied")
    return StoreUnavailable(text, reason="server" if status >= 500 else "other")
