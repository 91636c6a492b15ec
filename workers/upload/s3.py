"""Objects in a bucket: what the service asks of S3, through one shared client."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from workers.errors import ObjectExists, ObjectMissing, StoreUnavailable
from workers.settings.puts import PutSettings
from workers.settings.settings import Settings
from workers.upload.body import ObjectBody
from workers.upload.s3_client import Connection, connect
from workers.upload.s3_errors import is_not_implemented, meaning

CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Stored:
    """What HEAD says of an object; None where the store, or a proxy before it, does not say.

    Names of metadata are in lower case. `modified` is seconds since 1970. `sse` is how it is
    encrypted; S3 gives no `storage_class` where it is `STANDARD`.
    """

    size: int | None
    metadata: dict[str, str]
    etag: str | None
    modified: float | None
    sse: str | None = None
    storage_class: str | None = None


@dataclass(frozen=True, slots=True)
class PutAnswer:
    """What a store answered to a PUT that succeeded; any part of it may be missing.

    `checksum` is the base64 CRC-32 of what it stored. `has_content`: S3's own answer is empty, that
    of a captive portal is a page.
    """

    etag: str = ""
    checksum: str = ""
    has_content: bool = False


class Bucket:
    """S3 through one shared client. Every method blocks on the network.

    At most 3 s to connect, and `S3_READ_TIMEOUT_SECONDS` for an answer.

    Raises:
        StoreUnavailable: what failed may pass. Other `StoreError`s where a method names them.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        conditional: bool = True,
        puts: PutSettings = PutSettings(),  # noqa: B008 (it cannot change)
    ) -> None:
        self._connection = connection
        self._conditional = conditional
        self._of_objects, self._of_notes = puts.put_parameters, puts.note_parameters
        self._of_calls = puts.call_parameters

    @classmethod
    def connect(
        cls,
        settings: Settings,
        *,
        conditional: bool | None = None,
        options: dict[str, Any] | None = None,
        puts: PutSettings | None = None,
    ) -> "Bucket":
        """Make the process's one client. Call it after the fork; opens no connection yet.

        `conditional`, `puts`, and `options` of botocore's `Config`, take the place of what is set.
        """
        if conditional is None:
            conditional = settings.s3_conditional_put
        connection = connect(settings, options=options or {})
        return cls(connection, conditional=conditional, puts=puts or settings)

    def put(
        self,
        bucket: str,
        key: str,
        body: ObjectBody,
        *,
        metadata: dict[str, str],
        encoding: str | None,
    ) -> PutAnswer:
        """Store an object, unless the key is taken.

        Raises:
            ObjectExists, ObjectRejected: see there.
        """
        condition = {"IfNoneMatch": "*"} if self._conditional else {}
        return self._put(
            bucket, key, body, metadata=metadata, encoding=encoding, condition=condition
        )

    def put_note(self, bucket: str, key: str, content: bytes) -> None:
        """Store a small object beside those with payloads, in place of the one before."""
        self._put_note(bucket, key, content, condition={})

    def swap_note(self, bucket: str, key: str, content: bytes, *, etag: str | None) -> str | None:
        """Store a note in place of the one that has `etag`; None: only if there is none.

        Returns:
            Its ETag. A store that knows no conditions puts it in any case.

        Raises:
            ObjectExists: another one is there.
        """
        if not self._conditional:
            return self._put_note(bucket, key, content, condition={})
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        try:
            return self._put_note(bucket, key, content, condition=condition)
        except StoreUnavailable as error:
            if not is_not_implemented(error.__cause__):
                raise
            return self._put_note(bucket, key, content, condition={})

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
        """Overwrite the object that has `etag`; any object, where the store knows no conditions."""
        put = partial(self._put, bucket, key, body, metadata=metadata, encoding=encoding)
        if not (self._conditional and etag):
            return put(condition={})
        try:
            return put(condition={"IfMatch": etag})
        except ObjectExists as error:
            raise StoreUnavailable(f"changed meanwhile: {error}", reason="other") from error
        except StoreUnavailable as error:
            # Some stores know `If-None-Match` and not `If-Match`.
            if not is_not_implemented(error.__cause__):
                raise
            return put(condition={})

    def head(self, bucket: str, key: str) -> Stored:
        """Look at an object without reading it.

        Raises:
            ObjectMissing: there is none.
        """
        answer = self._call("head_object", Bucket=bucket, Key=key)
        modified = answer.get("LastModified")
        return Stored(
            size=answer.get("ContentLength"),
            # Header names have no case: Go's proxies, and stores, send `X-Amz-Meta-Segment`.
            metadata={name.lower(): value for name, value in answer.get("Metadata", {}).items()},
            etag=answer.get("ETag"),
            modified=modified.timestamp() if modified else None,
            sse=answer.get("ServerSideEncryption"),
            storage_class=answer.get("StorageClass"),
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
        except Exception as error:
            raise meaning(error) from error

    def read(self, bucket: str, key: str) -> Iterator[bytes]:
        """Yield an object's stored bytes in chunks, as they arrive.

        Raises:
            ObjectMissing: there is none.
        """
        answer = self._call("get_object", Bucket=bucket, Key=key)
        try:
            yield from answer["Body"].iter_chunks(CHUNK_BYTES)
        except Exception as error:
            raise meaning(error) from error

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        self._call("delete_object", Bucket=bucket, Key=key)

    def list(self, bucket: str, prefix: str = "") -> Iterator[tuple[str, float]]:
        """Yield keys and when they were modified, seconds since 1970."""
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
            found = page.get("Contents", [])
            for each in found:
                modified = each.get("LastModified")
                yield each["Key"], modified.timestamp() if modified else 0.0
            if not page.get("IsTruncated") or not found:
                return
            after, following = found[-1]["Key"], page.get("NextContinuationToken")
            token = {"ContinuationToken": following} if following else {"StartAfter": after}

    def close(self) -> None:
        """Close the client's connections."""
        self._connection.close()

    def _put_note(
        self, bucket: str, key: str, content: bytes, *, condition: dict[str, str]
    ) -> str | None:
        answer = self._put(
            bucket,
            key,
            ObjectBody.of(content),
            metadata={},
            encoding=None,
            condition=condition,
            is_note=True,
        )
        return answer.etag or None

    def _put(
        self,
        bucket: str,
        key: str,
        body: ObjectBody,
        *,
        metadata: dict[str, str],
        encoding: str | None,
        condition: dict[str, str],
        is_note: bool = False,
    ) -> PutAnswer:
        extra = {"ContentEncoding": encoding} if encoding else {}
        options = self._of_notes if is_note else self._of_objects
        try:
            answer = self._call(
                "put_object",
                Bucket=bucket,
                Key=key,
                Body=body.open(),
                Metadata=metadata,
                ContentType="application/x-ndjson",
                **extra,
                **condition,
                **options,
                **self._checksum(body),
            )
        except ObjectMissing as error:
            raise StoreUnavailable(str(error), reason="bucket") from error
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return PutAnswer(
            etag=answer.get("ETag", ""),
            checksum=answer.get("ChecksumCRC32", ""),
            has_content=(
                headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
            ),
        )

    def _checksum(self, body: ObjectBody) -> dict[str, str]:
        """Return the parameter by which S3 checks what arrives.

        Without it botocore would send the body in chunks of its own format over TLS, with a trailer
        (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html), which many
        stores refuse, and some store as it is.
        """
        if self._client().meta.config.request_checksum_calculation == "when_required":
            return {}
        return {"ChecksumCRC32": body.checksum}

    def _call(self, method: str, **arguments: Any) -> Any:
        client = self._client()
        try:
            return getattr(client, method)(**arguments, **self._of_calls)
        except Exception as error:
            found = meaning(error)
            if isinstance(found, StoreUnavailable) and found.reason == "denied":
                self._connection.denied()
            raise found from error

    def _client(self) -> Any:
        try:
            return self._connection.client()
        except Exception as error:
            raise meaning(error) from error
