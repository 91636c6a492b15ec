"""How objects are put: encryption, storage class, tags, the bucket's owner, conditions, region.

Settings, checked as far as they show without asking S3. Knows no client.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

KMS = ("aws:kms", "aws:kms:dsse")
# Objects of these classes can be read only after they are restored.
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
STORAGE_CLASSES = (
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    *sorted(ARCHIVES),
    "REDUCED_REDUNDANCY",
    "EXPRESS_ONEZONE",
    "OUTPOSTS",
    "SNOW",
)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
MAX_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE = 10, 128, 256
TAG_CHARACTERS = "_.:/=+-@"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutSettings:
    """What is asked of S3 beside the object itself; None, or no tags, asks for nothing."""

    s3_sse: str | None = None
    s3_sse_kms_key_id: str | None = None
    s3_storage_class: str | None = None
    s3_tags: str = ""
    s3_expected_bucket_owner: str | None = None
    s3_conditional_put: bool = True
    aws_region: str | None = None

    @property
    def put_parameters(self) -> dict[str, str]:
        """The parameters of `put_object` for payloads."""
        return {**self.note_parameters, **_given(StorageClass=self.s3_storage_class)}

    @property
    def note_parameters(self) -> dict[str, str]:
        """The parameters of `put_object` for notes beside them, such as those of dead letters.

        They are small, read by others and written again: storage classes cost more for such, and
        an archive could not be read.
        """
        return _given(
            ServerSideEncryption=self.s3_sse,
            SSEKMSKeyId=self.s3_sse_kms_key_id,
            Tagging=encode_tags(self.s3_tags) if self.s3_tags else None,
        )

    @property
    def call_parameters(self) -> dict[str, str]:
        """The parameters of every call."""
        return _given(ExpectedBucketOwner=self.s3_expected_bucket_owner)


def _given(**parameters: str | None) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def encode_tags(text: str) -> str:
    """Return tags as S3's header wants them, from the same form, not so strictly encoded.

    Raises:
        ValueError: S3 would refuse them.
    """
    try:
        tags = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError as error:
        raise ValueError("is no list such as team=data&stage=prod, URL-encoded") from error
    if len(tags) > MAX_TAGS:
        raise ValueError(f"has {len(tags)} tags; an object takes {MAX_TAGS}")
    keys = [key for key, _ in tags]
    if len(set(keys)) < len(keys):
        raise ValueError("has a tag's key twice")
    for key, value in tags:
        if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise ValueError(
                f"has a tag whose key is not of 1 to {MAX_TAG_KEY} characters, or whose value has"
                f" more than {MAX_TAG_VALUE}"
            )
        if key.lower().startswith("aws:"):
            raise ValueError("has a tag whose key begins with aws:, which is AWS's own")
        if not all(map(_is_tag_character, key + value)):
            raise ValueError(
                f"has a tag with other characters than letters, digits, spaces and {TAG_CHARACTERS}"
            )
    return urlencode(tags, quote_via=quote, safe="")


def _is_tag_character(character: str) -> bool:
    return character in TAG_CHARACTERS or unicodedata.category(character)[0] in "LNZ"


def _tags(value: str) -> None:
    try:
        encode_tags(value)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def _text(error: str, pattern: str, text: str) -> fields.String:
    return fields.String(
        load_default=None,
        validate=validate.Regexp(re.compile(f"{pattern}$"), error=error),
        metadata={"help": text},
    )


class PutSchema(Schema):
    """The settings of puts, for the schema of all settings to inherit."""

    s3_sse = fields.String(
        load_default=None,
        validate=validate.OneOf(["AES256", *KMS]),
        metadata={"help": "Server-side encryption to ask for; else as the bucket is set."},
    )
    s3_sse_kms_key_id = _text(
        "is no KMS key: its id, its ARN, or alias/name",
        r"[A-Za-z0-9:/_-]{1,2048}",
        "KMS key for it; else AWS's own `aws/s3`.",
    )
    s3_storage_class = _text(
        "is no storage class",
        r"[A-Za-z0-9_-]{1,64}",
        "Storage class of objects, such as `STANDARD_IA`.",
    )
    s3_tags = fields.String(
        load_default="",
        validate=_tags,
        metadata={"help": "Tags of objects: `team=data&stage=prod`, URL-encoded, at most 10."},
    )
    s3_expected_bucket_owner = _text(
        "is no AWS account: 12 digits", r"[0-9]{12}", "AWS account that has to own the bucket."
    )

    s3_conditional_put = fields.Boolean(
        load_default=True,
        metadata={"help": "`If-None-Match: *` on PUT; off for stores that lack it."},
    )
    aws_region = fields.String(
        load_default=None,
        metadata={"help": "Region of the bucket; boto3's AWS_DEFAULT_REGION and profiles do too."},
    )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def fit_together(
        self, data: Mapping[str, Any], original: Mapping[str, str], **_: object
    ) -> None:
        """Refuse a key without KMS, and a storage class that S3 does not have."""
        faults: dict[str, list[str]] = {}
        if data.get("s3_sse_kms_key_id") and data.get("s3_sse") not in KMS:
            faults["s3_sse_kms_key_id"] = [f"needs S3_SSE to be {' or '.join(KMS)}"]
        # Stores that are not AWS have classes of their own, named by their operators.
        is_aws = not (original.get("AWS_ENDPOINT_URL_S3") or original.get("AWS_ENDPOINT_URL"))
        if is_aws and data.get("s3_storage_class") not in {None, *STORAGE_CLASSES}:
            faults["s3_storage_class"] = [f"must be one of: {', '.join(STORAGE_CLASSES)}"]
        if faults:
            raise ValidationError(faults)
