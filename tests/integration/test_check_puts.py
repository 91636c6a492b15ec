"""`flask check` and uploads with the settings of puts: what is refused, or ignored, is named."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.bench import settings_for
from tests.support.proxy import Manners, Passing, Proxy, Refusal, without
from tests.support.s3 import FakeS3
from tests.support.s3.others import run_moto
from workers.operate.checks import Result, put_options_alone, run_checks
from workers.spool.spool import Spool
from workers.upload.s3 import Bucket

SET = {
    "S3_SSE": "aws:kms",
    "S3_SSE_KMS_KEY_ID": "alias/ours",
    "S3_STORAGE_CLASS": "STANDARD_IA",
    "S3_TAGS": "team=data",
}
OBJECT_TARGET_BYTES = 4096


@pytest.fixture
def proxy(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Stand before the fake S3."""
    with Proxy(s3.port) as proxy:
        for name, value in proxy.environ().items():
            monkeypatch.setenv(name, value)
        yield proxy


def check(spool: Path, bucket: str = "bucket", **environ: str) -> list[Result]:
    """Run all checks as the command does."""
    settings = settings_for(
        spool, S3_BUCKET=bucket, OBJECT_TARGET_BYTES=OBJECT_TARGET_BYTES, **environ
    )
    connected = Bucket.connect(settings)
    alone = put_options_alone(settings)
    results = list(run_checks(settings, connected, Spool(spool), alone=alone))
    connected.close()
    return results


def faults(results: list[Result]) -> dict[str, str]:
    """Return what failed."""
    return {result.what.partition(" s3://")[0]: result.fault for result in results if result.fault}


def test_moto_does_as_asked(tmp_path: Path) -> None:
    """A store that knows encryption, classes and tags passes, and keeps nothing."""
    with run_moto() as moto:
        assert faults(check(tmp_path, **SET, S3_EXPECTED_BUCKET_OWNER="123456789012")) == {}
        assert "Contents" not in moto.client.list_objects_v2(Bucket="bucket")


def refuse_header(name: str) -> Callable[[Passing], Refusal | None]:
    """Deny what a header asks for, as IAM does."""
    return lambda passing: Refusal(403, "AccessDenied") if name in passing.headers else None


@pytest.mark.parametrize(
    ("header", "step", "action"),
    [
        ("x-amz-tagging", "put with S3_TAGS alone", "lack the IAM action s3:PutObjectTagging:"),
        (
            "x-amz-server-side-encryption",
            "put with S3_SSE alone",
            "lack the IAM action kms:GenerateDataKey:",
        ),
        (
            "x-amz-expected-bucket-owner",
            "put with S3_EXPECTED_BUCKET_OWNER alone",
            "another account owns the bucket",
        ),
    ],
)
def test_the_option_that_is_refused_is_named(
    s3: FakeS3, proxy: Proxy, tmp_path: Path, *, header: str, step: str, action: str
) -> None:
    """The PUT with all of them fails, and then the one alone that the bucket does not take."""
    proxy.behave(Manners(refuse=refuse_header(header)))
    found = faults(check(tmp_path, s3.bucket, **SET, S3_EXPECTED_BUCKET_OWNER="0" * 12))
    assert found.keys() == {"put", step}
    assert action in found[step]
    assert s3.objects() == {}


def test_reading_what_is_encrypted_is_denied(s3: FakeS3, proxy: Proxy, tmp_path: Path) -> None:
    """A role that may put and not decrypt: HEAD and GET name the action."""
    proxy.behave(Manners(refuse=lambda p: Refusal(403) if p.method in {"HEAD", "GET"} else None))
    found = faults(check(tmp_path, s3.bucket, **SET))
    assert "s3:GetObject or kms:Decrypt" in found["head"]
    assert "s3:GetObject or kms:Decrypt" in found["get"]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("x-amz-server-side-encryption", "S3_SSE=aws:kms, but it is stored with None"),
        ("x-amz-storage-class", "S3_STORAGE_CLASS=STANDARD_IA, but it is stored as STANDARD"),
    ],
)
def test_an_option_that_is_passed_over_is_named(
    s3: FakeS3, proxy: Proxy, tmp_path: Path, *, header: str, words: str
) -> None:
    """A store that takes the PUT and does not do as asked is no store for these settings."""
    proxy.behave(Manners(headers=without(header)))
    assert words in faults(check(tmp_path, s3.bucket, **SET))["head"]


def test_an_archive_is_not_read(s3: FakeS3, proxy: Proxy, tmp_path: Path) -> None:
    """What cannot be read before it is restored is noted, and no fault."""
    del proxy
    results = check(tmp_path, s3.bucket, S3_STORAGE_CLASS="DEEP_ARCHIVE")
    assert faults(results) == {}
    notes = {result.what: result.note for result in results}
    assert "DEEP_ARCHIVE cannot be read" in str(notes["get"])
