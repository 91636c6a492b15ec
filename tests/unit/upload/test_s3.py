"""The calls on S3 through a real client: what they ask for, and what is read from the answers."""

import base64
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from workers.errors import StoreUnavailable
from workers.upload.body import ObjectBody
from workers.upload.s3 import Bucket, Stored
from workers.upload.s3_client import Connection


def make_client(**options: Any) -> Any:
    """Make a real client that never gets to connect."""
    return boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, **options),
    )


@pytest.fixture
def client() -> Any:
    """Make a client with botocore's defaults."""
    return make_client()


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    """Answer for S3 from a script; parameters that S3 does not know are errors."""
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def put(client: Any, *, conditional: bool = True, encoding: str | None = "gzip") -> None:
    """Put an object."""
    Bucket(Connection.of(client), conditional=conditional).put(
        "b", "k", ObjectBody.of(b"body"), metadata={"segment": "n"}, encoding=encoding
    )


PLAIN = {
    "Bucket": "b",
    "Key": "k",
    "Body": b"body",
    "Metadata": {"segment": "n"},
    "ContentType": "application/x-ndjson",
}
CHECKED = {
    **PLAIN,
    "ChecksumCRC32": base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big")).decode(),
}


@pytest.mark.parametrize(
    ("conditional", "encoding", "extra"),
    [
        (True, "gzip", {"IfNoneMatch": "*", "ContentEncoding": "gzip"}),
        (True, None, {"IfNoneMatch": "*"}),
        (False, "zstd", {"ContentEncoding": "zstd"}),
    ],
)
def test_what_a_put_asks_for(
    client: Any, stub: Stubber, *, conditional: bool, encoding: str, extra: dict[str, str]
) -> None:
    """Type, encoding and checksum are set; the condition is there unless it is switched off."""
    stub.add_response("put_object", {}, {**CHECKED, **extra})
    put(client, conditional=conditional, encoding=encoding)


def test_a_checksum_can_be_left_out() -> None:
    """Where AWS_REQUEST_CHECKSUM_CALCULATION is `when_required` a PUT carries none."""
    client = make_client(request_checksum_calculation="when_required")
    with Stubber(client) as stub:
        stub.add_response("put_object", {}, {**PLAIN, "IfNoneMatch": "*"})
        put(client, encoding=None)
        stub.assert_no_pending_responses()


def test_a_replacement_is_of_the_object_that_was_seen(client: Any, stub: Stubber) -> None:
    """An object that changed meanwhile is looked at again and not overwritten."""
    expected = {**CHECKED, "IfMatch": '"e"', "ContentEncoding": "gzip"}
    stub.add_response("put_object", {}, expected)
    stub.add_client_error("put_object", service_error_code="PreconditionFailed")
    bucket = Bucket(Connection.of(client))
    changes: dict[str, Any] = {"etag": '"e"', "metadata": {"segment": "n"}, "encoding": "gzip"}
    bucket.replace("b", "k", ObjectBody.of(b"body"), **changes)
    with pytest.raises(StoreUnavailable, match="changed meanwhile"):
        bucket.replace("b", "k", ObjectBody.of(b"body"), **changes)


@pytest.mark.parametrize(("conditional", "etag"), [(False, '"e"'), (True, None)])
def test_a_replacement_without_conditions(
    client: Any, stub: Stubber, *, conditional: bool, etag: str | None
) -> None:
    """A store without conditions, or without ETags, gets a plain PUT: Swift refuses `If-Match`."""
    stub.add_response("put_object", {}, CHECKED)
    bucket = Bucket(Connection.of(client), conditional=conditional)
    bucket.replace(
        "b", "k", ObjectBody.of(b"body"), etag=etag, metadata={"segment": "n"}, encoding=None
    )


@pytest.mark.parametrize("name", ["segment", "Segment", "SEGMENT"])
def test_metadata_names_have_no_case(client: Any, stub: Stubber, name: str) -> None:
    """`X-Amz-Meta-Segment`, as Go's proxies send it, is the metadata that was put."""
    modified = datetime.fromtimestamp(1.5, UTC)
    answer = {
        "ContentLength": 4,
        "Metadata": {name: "n"},
        "ETag": '"e"',
        "LastModified": modified,
    }
    stub.add_response("head_object", answer, {"Bucket": "b", "Key": "k"})
    assert Bucket(Connection.of(client)).head("b", "k") == Stored(4, {"segment": "n"}, '"e"', 1.5)


def test_a_head_that_says_nothing(client: Any, stub: Stubber) -> None:
    """An answer without length, ETag, date and metadata is an object of which nothing is known."""
    stub.add_response("head_object", {}, {"Bucket": "b", "Key": "k"})
    assert Bucket(Connection.of(client)).head("b", "k") == Stored(None, {}, None, None)


def test_a_parameter_that_botocore_would_not_send(client: Any) -> None:
    """A wrong bucket is for an operator to mend: it condemns no object."""
    with pytest.raises(StoreUnavailable) as caught:
        Bucket(Connection.of(client)).put(
            "no bucket's name", "k", ObjectBody.of(b""), metadata={}, encoding=None
        )
    assert caught.value.reason == "bucket"


def test_no_answer_of_a_server_ends_a_worker(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any exception that botocore makes of an answer is worth another try."""
    errors = iter([EndpointConnectionError(endpoint_url="u"), KeyError("no such field"), OSError()])

    def fail(**_: Any) -> None:
        raise next(errors)

    monkeypatch.setattr(client, "put_object", fail)
    reasons = []
    for _ in range(3):
        with pytest.raises(StoreUnavailable) as caught:
            put(client)
        reasons.append(caught.value.reason)
    assert reasons == ["network", "other", "network"]


def test_listing_goes_through_all_pages(client: Any, stub: Stubber) -> None:
    """A bucket of many thousand objects is listed to its end."""
    moment = datetime.fromtimestamp(1, UTC)
    first = {
        "Contents": [{"Key": "a", "LastModified": moment}],
        "IsTruncated": True,
        "NextContinuationToken": "t",
    }
    stub.add_response("list_objects_v2", first, {"Bucket": "b", "Prefix": ""})
    expected = {"Bucket": "b", "Prefix": "", "ContinuationToken": "t"}
    last = {"Contents": [{"Key": "b", "LastModified": moment}], "IsTruncated": False}
    stub.add_response("list_objects_v2", last, expected)
    assert list(Bucket(Connection.of(client)).list("b")) == [("a", 1.0), ("b", 1.0)]


def test_listing_goes_on_without_a_token(client: Any, stub: Stubber) -> None:
    """A store that gives no token, and no dates, is asked for what comes behind the last key."""
    first = {"Contents": [{"Key": "a"}], "IsTruncated": True}
    stub.add_response("list_objects_v2", first, {"Bucket": "b", "Prefix": ""})
    expected = {"Bucket": "b", "Prefix": "", "StartAfter": "a"}
    stub.add_response("list_objects_v2", {"Contents": [{"Key": "b"}]}, expected)
    assert list(Bucket(Connection.of(client)).list("b")) == [("a", 0.0), ("b", 0.0)]
