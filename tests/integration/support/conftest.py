"""A fake S3 of its own for each test."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.support.client import (
    make_client,
)
from tests.support.s3 import FakeS3


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    """Run a fake S3 with one bucket, called bucket."""
    with FakeS3() as running:
        yield running


@pytest.fixture
def client(s3: FakeS3) -> Iterator[Any]:
    """Make a real boto3 client for it."""
    with contextlib.closing(make_client(s3)) as made:
        yield made
