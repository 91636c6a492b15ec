"""The check: it does what the service does, leaves nothing behind, and names what is missing."""

import os
from pathlib import Path

import pytest

from tests.support.bench import settings_for
from tests.support.doubles import BadDisk, DictBucket
from workers.errors import BucketBrigadeError, ObjectMissing, StoreUnavailable
from workers.operate.checks import run_checks
from workers.spool.spool import Spool
from workers.upload.body import ObjectBody
from workers.upload.s3 import PutAnswer


def check(root: Path, bucket: DictBucket, *, disk: BadDisk | None = None, **environ: str) -> str:
    """Run all checks; return a line for each, as the command prints them."""
    settings = settings_for(root, **environ)
    results = run_checks(settings, bucket, Spool(root, disk=disk))
    return "\n".join(f"{result.what}: {result.fault or 'ok'}" for result in results)


def faults(said: str) -> list[str]:
    """Return the lines that are not ok."""
    return [line for line in said.splitlines() if not line.endswith(": ok")]


def test_all_is_well(tmp_path: Path, bucket: DictBucket) -> None:
    """Spool, put, refused put, head, get, delete: all tried, and nothing is left of it."""
    said = check(tmp_path, bucket)
    assert faults(said) == []
    for word in ("spool", "put s3://bucket/check/", "refused", "head", "get", "delete"):
        assert word in said
    assert bucket.objects == {}
    assert sorted(os.listdir(tmp_path)) == ["dead", "lock", "quarantine"]


def test_watermarks_are_tried_where_they_are_wanted(tmp_path: Path, bucket: DictBucket) -> None:
    """A policy may allow the prefix of the objects alone; nothing is left that a reader takes."""
    assert "under _watermark" not in check(tmp_path, bucket)
    said = check(tmp_path, bucket, WATERMARK_SECONDS="60")
    assert "put under _watermark/: ok" in said
    assert bucket.objects == {}


def test_a_store_that_ignores_conditions(tmp_path: Path, bucket: DictBucket) -> None:
    """The message names the setting that makes the service right there, and with it all is well."""
    careless = DictBucket(conditional=False)
    [fault] = faults(check(tmp_path, careless))
    assert "S3_CONDITIONAL_PUT=off" in fault
    said = check(tmp_path, careless, S3_CONDITIONAL_PUT="off")
    assert faults(said) == []
    assert "refused" not in said
    assert bucket.objects == {}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            StoreUnavailable("AccessDenied", reason="denied"),
            ["IAM", "s3:PutObject", "AccessDenied"],
        ),
        (
            StoreUnavailable("is not authorized to perform: kms:GenerateDataKey", reason="denied"),
            ["lack the IAM action kms:GenerateDataKey:"],
        ),
        (StoreUnavailable("NoSuchBucket", reason="bucket"), ["no such bucket", "region"]),
        (StoreUnavailable("refused", reason="network"), ["AWS_ENDPOINT_URL_S3"]),
        (StoreUnavailable("SlowDown", reason="throttled"), ["SlowDown"]),
        (BucketBrigadeError("odd"), ["odd"]),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, bucket: DictBucket, error: Exception, words: list[str]
) -> None:
    """The first fault says what an operator has to mend; what depends on it is not tried."""
    bucket.trouble.extend([error] * 2)
    said = check(tmp_path, bucket)
    [fault] = faults(said)
    assert all(word in fault for word in words)
    assert said.count("not tried") == 1
    assert bucket.puts == 1


@pytest.mark.parametrize(
    ("method", "action"),
    [("head", "s3:GetObject"), ("get", "s3:GetObject"), ("delete", "s3:DeleteObject")],
)
def test_the_right_that_is_missing_is_named(
    tmp_path: Path,
    bucket: DictBucket,
    monkeypatch: pytest.MonkeyPatch,
    *,
    method: str,
    action: str,
) -> None:
    """Of each call the IAM action is named that it needs."""

    def denied(*_: object) -> None:
        raise StoreUnavailable("AccessDenied", reason="denied")

    monkeypatch.setattr(bucket, method, denied)
    said = faults(check(tmp_path, bucket))
    assert any(line.startswith(method) and action in line for line in said)


def test_an_object_that_does_not_come_back(
    tmp_path: Path, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that took the object and does not have it is not well."""

    def missing(*_: object) -> None:
        raise ObjectMissing("gone")

    monkeypatch.setattr(bucket, "get", missing)
    assert "does the bucket exist" in faults(check(tmp_path, bucket))[0]


def test_metadata_that_does_not_come_back(
    tmp_path: Path, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its metadata an object cannot be distinguished from another program's."""
    put = DictBucket.put

    def forgetful(
        self: DictBucket, bucket: str, key: str, body: ObjectBody, **_: object
    ) -> PutAnswer:
        return put(self, bucket, key, body, metadata={}, encoding="gzip")

    monkeypatch.setattr(DictBucket, "put", forgetful)
    [fault] = faults(check(tmp_path, bucket))
    assert "metadata" in fault


@pytest.mark.parametrize("trouble", ["full", "failing"])
def test_a_disk_that_does_not_work(tmp_path: Path, bucket: DictBucket, trouble: str) -> None:
    """A disk that takes no canary, or does not sync it, is named; the canary is gone again."""
    disk = BadDisk()
    setattr(disk, trouble, True)
    [fault] = faults(check(tmp_path, bucket, disk=disk))
    assert fault.startswith("spool")
    assert "No space" in fault or "Input/output" in fault
    assert sorted(os.listdir(tmp_path)) == ["dead", "lock", "quarantine"]


def test_a_spool_that_cannot_be(tmp_path: Path, bucket: DictBucket) -> None:
    """A spool that cannot be made is named, and the bucket is still tried."""
    (tmp_path / "file").touch()
    said = check(tmp_path / "file", bucket)
    assert "cannot be used" in faults(said)[0]
    assert len(faults(said)) == 1
