"""Settings from the environment: defaults, bounds, and every mistake said at once."""

import os
from pathlib import Path
from typing import Any

import pytest
from marshmallow import fields, validate

from workers.errors import SettingsError
from workers.segments.naming import default_template
from workers.settings.settings import SettingsSchema, load_settings

BUCKET = {"S3_BUCKET": "bucket"}
NUMBERS = {
    name: field
    for name, field in SettingsSchema().fields.items()
    if isinstance(field, fields.Integer | fields.Float)
}
CHOICES = {
    name: validator.choices
    for name, field in SettingsSchema().fields.items()
    for validator in field.validators
    if isinstance(validator, validate.OneOf)
}


def bounds(name: str) -> tuple[Any, Any]:
    """Return a number's least and greatest value."""
    [between] = NUMBERS[name].validators
    assert isinstance(between, validate.Range)
    return between.min, between.max


def test_a_bucket_is_all_that_is_needed() -> None:
    """The defaults are those of a stranger's first week."""
    settings = load_settings(BUCKET)
    assert settings.durability == "disk"
    assert settings.compression == "gzip"
    assert settings.max_workers == 8
    assert settings.object_max_age_seconds == 10
    assert settings.key_template == "{stream}/dt={date}/hour={hour}/{segment}.ndjson.gz"
    assert settings.line_format == "payload"
    assert settings.s3_conditional_put is True
    assert settings.payload_schema is None
    assert settings.web_concurrency == len(os.sched_getaffinity(0))


def test_without_a_bucket_it_says_so() -> None:
    """The one required setting is named, with its reason."""
    with pytest.raises(SettingsError, match="S3_BUCKET: must be set"):
        load_settings({})


def test_all_mistakes_are_said_at_once() -> None:
    """An operator mends everything in one go: a line for each mistake."""
    wrong = {"MAX_QUEUE": "many", "DURABILITY": "paper", "KEY_TEMPLATE": "{stream}"}
    with pytest.raises(SettingsError) as caught:
        load_settings(wrong)
    first, *lines = str(caught.value).splitlines()
    assert first == "settings are wrong:"
    names = ["DURABILITY", "KEY_TEMPLATE", "MAX_QUEUE", "S3_BUCKET"]
    assert [line.split(":")[0].strip() for line in lines] == names


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_held_to_its_bounds(name: str) -> None:
    """The bounds themselves are allowed; what lies just beyond them is refused."""
    low, high = bounds(name)
    for value in (low, high):
        assert getattr(load_settings({**BUCKET, name.upper(): str(value)}), name) == value
    for value in (low - 1, high + 1, "nan", "1e999", "x"):
        with pytest.raises(SettingsError, match=name.upper()):
            load_settings({**BUCKET, name.upper(): str(value)})


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_is_one_of_those_there_are(name: str) -> None:
    """Each choice can be taken, and nothing else."""
    queue = {"DURABILITY": "queue", "QUEUE_URL": "redis://h", "RECEIPT_SECRET": "s"}
    for value in CHOICES[name]:
        needed = queue if name == "role" or value == "queue" else {}
        given = {**BUCKET, **needed, name.upper(): str(value)}
        assert getattr(load_settings(given), name) == value
    with pytest.raises(SettingsError, match=name.upper()):
        load_settings({**BUCKET, name.upper(): "other"})


def test_blank_is_unset() -> None:
    """`NAME=`, as shells and compose files write it, means the default."""
    blank = {name.upper(): " " for name in SettingsSchema().fields}
    assert load_settings({**blank, **BUCKET}) == load_settings(BUCKET)


def test_names_of_others_are_let_be() -> None:
    """The environment is full of variables that are none of ours, in any case of letters."""
    assert load_settings({**BUCKET, "PATH": "x", "max_queue": "x"}) == load_settings(BUCKET)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_the_default_key_ends_as_the_object_is_compressed(compression: str) -> None:
    """The extension follows the compression, unless a template is given."""
    settings = load_settings({**BUCKET, "COMPRESSION": compression})
    assert settings.key_template == default_template(compression)
    given = {**BUCKET, "COMPRESSION": compression, "KEY_TEMPLATE": "x/{segment}"}
    assert load_settings(given).key_template == "x/{segment}"


@pytest.mark.parametrize(
    "name",
    ["b", "UPPER", "-a-", "a_b", "x" * 64, "bucket/key", "bucket\nother", "s3://bucket", "arn:foo"],
)
def test_a_name_that_no_bucket_has_is_refused(name: str) -> None:
    """A typo is found at the start and not at the first upload."""
    with pytest.raises(SettingsError, match="S3_BUCKET"):
        load_settings({"S3_BUCKET": name})


@pytest.mark.parametrize(
    "name",
    [
        "abc",
        "a.b-c",
        "x" * 63,
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/ap",
        "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:ap",
        "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/accesspoint/ap",
    ],
)
def test_buckets_and_access_points_are_taken(name: str) -> None:
    """Everything that boto3 takes as a bucket may be one."""
    assert load_settings({"S3_BUCKET": name}).s3_bucket == name


@pytest.mark.parametrize("word", ["off", "false", "0", "no"])
def test_a_switch_can_be_turned_off_in_many_words(word: str) -> None:
    """Operators spell `off` as they like."""
    assert load_settings({**BUCKET, "S3_CONDITIONAL_PUT": word}).s3_conditional_put is False


def test_the_spool_is_where_it_was_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative directory is made absolute once, before the process may change its own."""
    monkeypatch.chdir(tmp_path)
    assert load_settings(BUCKET).spool_dir == tmp_path / "spool"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the settings come from the process's environment."""
    monkeypatch.setenv("S3_BUCKET", "from-environment")
    assert load_settings().s3_bucket == "from-environment"


def test_the_time_to_stop_holds_requests_and_uploads() -> None:
    """The one budget of gunicorn covers the linger, the slowest request and the draining."""
    given = {**BUCKET, "REQUEST_SECONDS": "3", "DRAIN_SECONDS": "4"}
    assert load_settings(given).graceful_seconds == 9


def test_a_secret_is_not_repeated_in_a_mistake() -> None:
    """What a wrong setting held is not echoed: it may have been a credential."""
    with pytest.raises(SettingsError) as caught:
        load_settings({"RECEIPT_SECRET": "hunter2", "MAX_QUEUE": "hunter3"})
    assert "hunter" not in str(caught.value)
