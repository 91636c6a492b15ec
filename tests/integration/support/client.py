"""A boto3 client that tries once, and requests by hand."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
)

from tests.support.s3 import LOOPBACK, FakeS3

BODY = b'{"a":1}\n' * 100
NO_RETRIES = {"total_max_attempts": 1}


def make_client(s3: FakeS3, **config: Any) -> Any:
    """Make a client that tries once and is otherwise as boto3 makes it."""
    given = {"retries": NO_RETRIES, "connect_timeout": 5, "read_timeout": 5, **config}
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(**given),
    )


def put(client: Any, key: str = "k", body: bytes = BODY, **options: Any) -> Any:
    """Put an object."""
    return client.put_object(Bucket="bucket", Key=key, Body=body, **options)


def refusal(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[int, str]:
    """Return the status and the code with which S3 refuses a call."""
    with pytest.raises(ClientError) as caught:
        call(*args, **options)
    response: Any = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


@contextlib.contextmanager
def raw_connection(s3: FakeS3, head: str, body: bytes = b"") -> Iterator[socket.socket]:
    """Send a request by hand, as much of it as one likes."""
    with socket.create_connection((LOOPBACK, s3.port), timeout=5) as sock:
        lines = [*head.splitlines(), "Host: s3", "", ""]
        sock.sendall("\r\n".join(lines).encode() + body)
        yield sock
