"""`check`: do once, on a canary, all that the service does, and say precisely what fails."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workers.errors import BucketBrigadeError, ObjectExists, ObjectMissing, StoreUnavailable
from workers.segments.naming import Clock, object_key, segment_name
from workers.settings import Settings
from workers.spool.spool import Spool
from workers.upload.body import ObjectBody
from workers.upload.s3 import Bucket


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was tried; `fault` says what is missing, None that nothing is."""

    what: str
    fault: str | None


Step = tuple[str, str, Callable[[], object]]


def run_checks(settings: Settings, bucket: Bucket, spool: Spool) -> Iterator[Result]:
    """Try the spool, then each call on the bucket. Blocks on the disk and on the network."""
    yield _try(f"spool {spool.root}: write, sync, lock", "", lambda: _try_spool(spool))
    name = segment_name(Clock().tick())
    key = object_key(settings.key_template, stream="check", name=name)
    first, *rest = _bucket_steps(settings, bucket, name=name, key=key)
    put = _try(*first)
    yield put
    for step in rest:
        yield _try(*step) if put.fault is None else Result(step[0], "not tried without an object")


def _bucket_steps(settings: Settings, bucket: Bucket, *, name: str, key: str) -> list[Step]:
    place = settings.s3_bucket

    def put() -> None:
        bucket.put(place, key, ObjectBody.of(b"{}\n"), metadata={"segment": name}, encoding=None)

    def put_again() -> None:
        with contextlib.suppress(ObjectExists):
            put()
            raise BucketBrigadeError("it ignores `If-None-Match: *`; set S3_CONDITIONAL_PUT=off")

    def head() -> None:
        if bucket.head(place, key).metadata.get("segment") != name:
            raise BucketBrigadeError("the object's metadata did not come back")

    again: Step = ("put it again: refused", "s3:PutObject", put_again)
    return [
        (f"put s3://{place}/{key}", "s3:PutObject", put),
        *([again] if settings.s3_conditional_put else []),
        ("head", "s3:GetObject", head),
        ("get", "s3:GetObject", lambda: bucket.get(place, key)),
        ("delete", "s3:DeleteObject (only this check deletes)", lambda: bucket.delete(place, key)),
    ]


def _try(what: str, action: str, step: Callable[[], object]) -> Result:
    try:
        step()
    except (BucketBrigadeError, OSError) as error:
        return Result(what, _explain(error, action))
    return Result(what, None)


def _try_spool(spool: Spool) -> None:
    spool.prepare()
    canary = spool.root / f".check-{os.getpid()}"
    file = spool.disk.create(canary)
    try:
        spool.disk.append(file, [b"canary"])
        spool.disk.sync(file)
    finally:
        spool.disk.close(file)
        spool.disk.unlink(canary)


def _explain(error: Exception, action: str) -> str:
    if isinstance(error, ObjectMissing):
        return f"not there ({error}); does the bucket exist, and may we {action}?"
    if isinstance(error, StoreUnavailable):
        hint = {
            "denied": f"credentials are missing or wrong, or lack the IAM action {action}",
            "bucket": "there is no such bucket, or it is in another region",
            "network": "the endpoint cannot be reached (AWS_ENDPOINT_URL_S3, AWS_REGION)",
        }.get(error.reason)
        return f"{hint}: {error}" if hint else str(error)
    return str(error)
