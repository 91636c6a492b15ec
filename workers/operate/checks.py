"""`check`: do once, on a canary, all that the service does, and name precisely what fails."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from workers.errors import (
    BucketBrigadeError,
    ObjectExists,
    ObjectMissing,
    StoreError,
    StoreUnavailable,
)
from workers.operate.canary import Canary
from workers.settings.puts import KMS, PutSettings
from workers.settings.settings import Settings
from workers.spool.spool import Spool
from workers.upload.s3 import Bucket

# What boto3's config file holds: there are no variables for it.
STYLE = "`s3 = addressing_style = {}` in boto3's config file"
# How newer messages of IAM name what is missing.
_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)")


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was tried; `fault` says what is missing, `note` what is only worth knowing.

    What was not tried, as something before it failed, is one result, and its `note` lists it.
    """

    what: str
    fault: str | None = None
    note: str | None = None
    tried: bool = True


# What is tried, the IAM action that it needs, and the function that tries it; it returns a note.
Step = tuple[str, str, Callable[[], str | None]]
Variants = Mapping[str, Callable[[], Bucket]]


def variants(settings: Settings) -> Variants:
    """Return other ways to reach the bucket, by the setting that makes each."""
    checksum = {"request_checksum_calculation": "when_required"}
    virtual, path = ({"s3": {"addressing_style": style}} for style in ("virtual", "path"))
    return {
        "S3_CONDITIONAL_PUT=off": lambda: Bucket.connect(settings, conditional=False),
        "AWS_REQUEST_CHECKSUM_CALCULATION=when_required": lambda: Bucket.connect(
            settings, options=checksum
        ),
        STYLE.format("path"): lambda: Bucket.connect(settings, options=path),
        STYLE.format("virtual"): lambda: Bucket.connect(settings, options=virtual),
    }


def put_options_alone(settings: Settings) -> Variants:
    """Return ways to put with none of the options that are set, and with each alone."""
    alone = {
        "S3_SSE": PutSettings(s3_sse=settings.s3_sse, s3_sse_kms_key_id=settings.s3_sse_kms_key_id),
        "S3_STORAGE_CLASS": PutSettings(s3_storage_class=settings.s3_storage_class),
        "S3_TAGS": PutSettings(s3_tags=settings.s3_tags),
        "S3_EXPECTED_BUCKET_OWNER": PutSettings(
            s3_expected_bucket_owner=settings.s3_expected_bucket_owner
        ),
    }
    none = PutSettings()
    found = {name: options for name, options in alone.items() if options != none}
    if found:
        found = {"": none, **found}
    return {
        name: partial(Bucket.connect, settings, puts=options) for name, options in found.items()
    }


def run_checks(
    settings: Settings,
    bucket: Bucket,
    spool: Spool | None,
    *,
    queue: Callable[[], str | None] | None = None,
    others: Variants | None = None,
    alone: Variants | None = None,
) -> Iterator[Result]:
    """Try the spool, or the queue, then each call on the bucket. Blocks on disk and network.

    `queue` raises `QueueError`, or returns a note. A process that does not upload needs no bucket.

    Where the PUT fails, `others` are tried, and the first that works is named; then all of `alone`,
    so that each option that is refused is named.
    """
    if spool is not None:
        yield _try(f"spool {spool.root}: write, sync, lock", "", partial(_try_spool, spool))
    if queue is not None:
        yield _try("queue: reach, write, configuration", "", queue)
    if settings.role == "web":
        return
    canary = Canary.make(settings)
    first, *rest = _steps(settings, bucket, canary)
    put = _try(*first)
    if put.fault is not None and (better := _better(settings, canary, others or {})):
        put = Result(put.what, f"with {better} it works; {put.fault}")
    yield put
    if put.fault is not None:
        for name, connect in (alone or {}).items():
            yield _try_option(settings, canary, name, connect)
        skipped = "; ".join(what for what, _, _ in rest)
        yield Result("not tried without an object", note=skipped, tried=False)
        return
    for step in rest:
        yield _try(*step)


def _steps(settings: Settings, bucket: Bucket, canary: Canary) -> list[Step]:
    place, key = settings.s3_bucket, canary.key

    def absent() -> str | None:
        try:
            bucket.head(place, canary.absent)
        except ObjectMissing:
            return None
        except StoreUnavailable as error:
            if error.reason != "denied":
                raise
            return "a 403 without s3:ListBucket: receipts of other machines' payloads get a 503"
        raise BucketBrigadeError("it answers for an object that is not there")

    again: Step = (
        "put it again: refused",
        "s3:PutObject",
        partial(_put_again, canary, bucket, place),
    )
    change: Step = (
        "replace it, if unchanged",
        "s3:PutObject",
        lambda: canary.replace(bucket, place),
    )
    conditional = settings.s3_conditional_put
    reading = "s3:GetObject" + (" or kms:Decrypt" if settings.s3_sse in KMS else "")
    return [
        (f"put s3://{place}/{key}", _put_actions(settings), lambda: canary.put(bucket, place, key)),
        *([again] if conditional else []),
        ("head", reading, lambda: canary.head(bucket, place)),
        *([change] if conditional else []),
        ("get", reading, lambda: canary.get(bucket, place)),
        *([_watermark_step(bucket, place)] if settings.watermark_seconds else []),
        ("head of what is not there", "s3:ListBucket", absent),
        (
            "delete",
            "s3:DeleteObject (only this check deletes)",
            lambda: bucket.delete(place, key),
        ),
    ]


def _put_again(canary: Canary, bucket: Bucket, place: str) -> None:
    with contextlib.suppress(ObjectExists):
        canary.put(bucket, place, canary.key)
        raise BucketBrigadeError("it ignores `If-None-Match: *`; set S3_CONDITIONAL_PUT=off")


def _watermark_step(bucket: Bucket, place: str) -> Step:
    def put() -> None:
        # A reader takes only keys that end in `.json`.
        key = f"_watermark/check-{os.getpid()}"
        bucket.put_note(place, key, b"{}\n")
        with contextlib.suppress(StoreError):
            bucket.delete(place, key)

    return "put under _watermark/", "s3:PutObject", put


def _put_actions(settings: Settings) -> str:
    actions = ["s3:PutObject"]
    actions += ["s3:PutObjectTagging"] if settings.s3_tags else []
    actions += ["kms:GenerateDataKey"] if settings.s3_sse in KMS else []
    return " or ".join(actions)


def _try_option(
    settings: Settings, canary: Canary, name: str, connect: Callable[[], Bucket]
) -> Result:
    """Put with one option alone. What is wrong with several is seen of each."""
    action = {
        "S3_SSE": "kms:GenerateDataKey" if settings.s3_sse in KMS else "s3:PutObject",
        "S3_TAGS": "s3:PutObjectTagging",
        "S3_EXPECTED_BUCKET_OWNER": "s3:PutObject; or another account owns the bucket",
    }.get(name, "s3:PutObject")

    def put() -> None:
        bucket, place, key = connect(), settings.s3_bucket, f"{canary.key}.{name or 'plain'}"
        canary.put(bucket, place, key)
        with contextlib.suppress(StoreError):
            bucket.delete(place, key)

    return _try(f"put with {name} alone" if name else "put without any option", action, put)


def _better(settings: Settings, canary: Canary, others: Variants) -> str | None:
    """Return the first setting with which the PUT works."""
    place = settings.s3_bucket
    for number, (name, connect) in enumerate(others.items()):
        key = f"{canary.key}.{number}"
        with contextlib.suppress(BucketBrigadeError):
            bucket = connect()
            canary.put(bucket, place, key)
            with contextlib.suppress(StoreError):
                bucket.delete(place, key)
            return name
    return None


def _try(what: str, action: str, step: Callable[[], str | None]) -> Result:
    try:
        return Result(what, note=step())
    except (BucketBrigadeError, OSError) as error:
        return Result(what, _explain(error, action))


def _try_spool(spool: Spool) -> None:
    spool.prepare()
    canary = spool.root / f".check-{os.getpid()}"
    file = spool.disk.create(canary)
    try:
        spool.disk.write_at(file, [b"canary"], 0)
        spool.disk.sync(file)
    finally:
        spool.disk.close(file)
        spool.disk.unlink(canary)


def _explain(error: Exception, action: str) -> str:
    if isinstance(error, ObjectMissing):
        return f"not there ({error}); does the bucket exist, and may we {action}?"
    if isinstance(error, StoreUnavailable):
        named = _ACTION.search(str(error))
        action = named.group(1) if named else action
        hint = {
            "denied": f"credentials are missing or wrong, or lack the IAM action {action}",
            "bucket": "there is no such bucket, it is full, or it is in another region",
            "network": "the endpoint cannot be reached (AWS_ENDPOINT_URL_S3, AWS_REGION)",
        }.get(error.reason)
        return f"{hint}: {error}" if hint else str(error)
    return str(error)
