"""The settings of puts: what is taken, and each mistake by its name before a port opens."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.errors import SettingsError
from workers.settings.puts import KMS, TAG_CHARACTERS, encode_tags
from workers.settings.settings import load_settings

BUCKET = {"S3_BUCKET": "bucket"}


def test_without_them_nothing_is_asked_for() -> None:
    """By default a PUT, and any other call, has no parameter more than before."""
    settings = load_settings(BUCKET)
    assert settings.put_parameters == {}
    assert settings.note_parameters == {}
    assert settings.call_parameters == {}


@pytest.mark.parametrize("sse", KMS)
@pytest.mark.parametrize(
    "key", ["alias/ours", "1234abcd-12ab", "arn:aws:kms:eu-west-1:123456789012:key/mrk-1"]
)
def test_all_of_them(sse: str, key: str) -> None:
    """Objects get all options; notes, which are read and written again, no storage class."""
    chosen = {
        "S3_SSE": sse,
        "S3_SSE_KMS_KEY_ID": key,
        "S3_STORAGE_CLASS": "GLACIER",
        "S3_TAGS": "team=data+@+home&stage=",
        "S3_EXPECTED_BUCKET_OWNER": "012345678901",
    }
    settings = load_settings({**BUCKET, **chosen})
    notes = {
        "ServerSideEncryption": sse,
        "SSEKMSKeyId": key,
        "Tagging": "team=data%20%40%20home&stage=",
    }
    assert settings.note_parameters == notes
    assert settings.put_parameters == {**notes, "StorageClass": "GLACIER"}
    assert settings.call_parameters == {"ExpectedBucketOwner": "012345678901"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("S3_SSE", "kms", "AES256"),
        ("S3_SSE_KMS_KEY_ID", "alias/x", "needs S3_SSE to be aws:kms"),
        ("S3_SSE_KMS_KEY_ID", "a key", "is no KMS key"),
        ("S3_STORAGE_CLASS", "STANDRAD", "must be one of: STANDARD, STANDARD_IA"),
        ("S3_STORAGE_CLASS", "COLD\nX: y", "is no storage class"),
        ("S3_EXPECTED_BUCKET_OWNER", "12345", "12 digits"),
        ("S3_EXPECTED_BUCKET_OWNER", "0123456789012", "12 digits"),
        ("S3_TAGS", "team", "is no list"),
        ("S3_TAGS", "a=1&&b=2", "is no list"),
        ("S3_TAGS", "a=%ff", "is no list"),
        ("S3_TAGS", "&".join(f"k{n}=v" for n in range(11)), "11 tags"),
        ("S3_TAGS", "a=1&a=2", "twice"),
        ("S3_TAGS", "=1", "whose key is not of 1 to 128"),
        ("S3_TAGS", f"{'k' * 129}=1", "whose key is not of 1 to 128"),
        ("S3_TAGS", f"k={'v' * 257}", "more than 256"),
        ("S3_TAGS", "AWS:a=1", "aws:"),
        ("S3_TAGS", "a=b%26c", "other characters"),
        ("S3_TAGS", "a=b%0Ac", "other characters"),
    ],
)
def test_a_mistake_is_named(name: str, value: str, words: str) -> None:
    """The start ends with the setting and what is wrong with it."""
    with pytest.raises(SettingsError) as caught:
        load_settings({**BUCKET, name: value})
    [line] = str(caught.value).splitlines()[1:]
    assert line.strip().startswith(f"{name}: ")
    assert words in line


def test_another_store_has_classes_of_its_own() -> None:
    """Ceph's operators name storage classes: with an endpoint any name is taken."""
    environ = {**BUCKET, "AWS_ENDPOINT_URL": "http://ceph", "S3_STORAGE_CLASS": "Cold-2"}
    assert load_settings(environ).s3_storage_class == "Cold-2"


TAG_TEXT = st.text(st.characters(categories=("L", "N", "Zs"), include_characters=TAG_CHARACTERS))


@settings(deadline=None)
@given(st.dictionaries(TAG_TEXT.map("k{}".format), TAG_TEXT, min_size=1, max_size=10))
def test_tags_survive_their_encoding(tags: dict[str, str]) -> None:
    """What is encoded once more for the header reads as the same tags."""
    tags = {key[:128]: value[:256] for key, value in tags.items()}
    given_as = "&".join(f"{key}={value}" for key, value in tags.items())
    given_as = given_as.replace("+", "%2B")
    if any("=" in key for key in tags):
        return
    encoded = encode_tags(given_as)
    assert encoded.isascii()
    assert dict(parse_qsl(encoded, keep_blank_values=True)) == tags
