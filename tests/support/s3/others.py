"""An S3 that others wrote, moto, in a thread of this process, with one bucket."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
from botocore.client import BaseClient
from moto.server import ThreadedMotoServer

from tests.support.s3.server import LOOPBACK


@dataclass(frozen=True, slots=True, kw_only=True)
class MotoS3:
    """A running moto; `client` is one of boto3 for it."""

    port: int
    endpoint: str
    client: BaseClient


@contextlib.contextmanager
def run_moto(bucket: str = "bucket") -> Iterator[MotoS3]:
    """Run moto with an empty bucket, and point boto3 at it.

    All of its servers in one process have the same objects: a bucket goes with its server.
    """
    server = ThreadedMotoServer(LOOPBACK, 0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        endpoint = f"http://{LOOPBACK}:{port}"
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, "test")
            for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
                patch.setenv(name, "us-east-1")
            patch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
            client = boto3.client("s3")
            client.create_bucket(Bucket=bucket)
            try:
                yield MotoS3(port=port, endpoint=endpoint, client=client)
            finally:
                for found in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
                    client.delete_object(Bucket=bucket, Key=found["Key"])
                client.delete_bucket(Bucket=bucket)
                client.close()
    finally:
        server.stop()
