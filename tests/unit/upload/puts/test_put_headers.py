"""What is asked of S3 with each call once the settings of puts are set, through a real client."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import ANY, Stubber

from workers.settings.puts import PutSettings
from workers.upload.body import ObjectBody
from workers.upload.s3 import Bucket
from workers.upload.s3_client import Connection

OPTIONS = PutSettings(
    s3_sse="aws:kms",
    s3_sse_kms_key_id="alias/k",
    s3_storage_class="GLACIER_IR",
    s3_tags="a=b",
    s3_expected_bucket_owner="0" * 12,
)
NOTES = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/k", "Tagging": "a=b"}
OBJECTS = {**NOTES, "StorageClass": "GLACIER_IR"}
OWNER = {"ExpectedBucketOwner": "0" * 12}
PLACE = {"Bucket": "b", "Key": "k"}
PUT = {
    **PLACE,
    "Body": b"body",
    "Metadata": {},
    "ContentType": "application/x-ndjson",
    "ChecksumCRC32": ANY,
}
BODY = ObjectBody.of(b"body")

Call = Callable[[Bucket], object]


def put(bucket: Bucket) -> None:
    """Put an object."""
    bucket.put("b", "k", BODY, metadata={}, encoding=None)


def replace(bucket: Bucket) -> None:
    """Replace an object that is a part of ours."""
    bucket.replace("b", "k", BODY, etag='"e"', metadata={}, encoding=None)


@pytest.mark.parametrize(
    ("call", "method", "expected"),
    [
        (put, "put_object", {**PUT, **OBJECTS, "IfNoneMatch": "*"}),
        (replace, "put_object", {**PUT, **OBJECTS, "IfMatch": '"e"'}),
        (lambda bucket: bucket.put_note("b", "k", b"body"), "put_object", {**PUT, **NOTES}),
        (lambda bucket: bucket.head("b", "k"), "head_object", PLACE),
        (lambda bucket: bucket.delete("b", "k"), "delete_object", PLACE),
        (lambda bucket: list(bucket.list("b")), "list_objects_v2", {"Bucket": "b", "Prefix": ""}),
    ],
)
def test_every_call_asks_for_what_is_set(call: Call, method: str, expected: dict[str, Any]) -> None:
    """Objects, replacements and notes are put as set; every call names the bucket's owner."""
    client: Any = boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    )
    with Stubber(client) as stub:
        stub.add_response(method, {}, {**expected, **OWNER})
        call(Bucket(Connection.of(client), puts=OPTIONS))
        stub.assert_no_pending_responses()


@pytest.mark.parametrize("method", ["get", "read"])
def test_reading_names_the_owner_too(method: str) -> None:
    """A bucket that another account has taken over gives nothing that passes for ours."""
    asked: list[dict[str, Any]] = []

    class Client:
        """A client that takes note of its calls."""

        def get_object(self, **arguments: Any) -> Any:
            """Answer with nothing."""
            asked.append(arguments)
            raise OSError("reset")

    bucket = Bucket(Connection.of(Client()), puts=OPTIONS)
    with pytest.raises(Exception, match="reset"):
        list(getattr(bucket, method)("b", "k"))
    assert asked == [{**PLACE, **OWNER}]
