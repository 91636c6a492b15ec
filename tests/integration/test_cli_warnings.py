"""`flask check` and the key template: what it warns of is no failure."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

from app.factory import create_app
from tests.support.bench import settings_for
from tests.support.s3 import FakeS3
from workers.pipeline import Pipeline
from workers.upload.s3 import Bucket


def no_pipeline() -> Pipeline:
    """Fail: a command starts none."""
    raise AssertionError("a command started a pipeline")


def test_a_check_warns_and_puts_a_canary_by_the_template(
    tmp_path: Path, s3: FakeS3, real_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary has no values: it is in the default partition, and all the rest is tried."""
    monkeypatch.setattr(Bucket, "connect", lambda *_, **__: real_bucket)
    settings = settings_for(
        tmp_path, S3_BUCKET=s3.bucket, EVENT_TIME="/at", KEY_TEMPLATE="x/{payload.a.b}/{segment}"
    )
    app = create_app(settings, pipeline=no_pipeline)
    found = CliRunner().invoke(FlaskGroup(create_app=lambda: app), ["check"])
    assert found.exit_code == 0
    warning, *lines = found.stdout.splitlines()
    assert warning.startswith("warn EVENT_TIME has no use")
    assert all(line.startswith("ok ") for line in lines)
    assert "/x/__HIVE_DEFAULT_PARTITION__/" in found.stdout
