"""SQS as an operator sees it: `flask check`, other commands, and a web tier that S3 denies."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from app.factory import create_app
from tests.integration.app.application import Service
from tests.support.bench import settings_for
from tests.support.s3 import FakeS3, Fault
from tests.support.sqs.server import SqsServer
from workers.pipeline import Pipeline
from workers.settings.settings import Settings
from workers.upload.s3 import Bucket

DENIED = Fault(kind="error", methods=["HEAD", "GET", "PUT"], status=403, code="AccessDenied")
Run = Callable[..., Result]


@pytest.fixture
def settings(
    tmp_path: Path, sqs: SqsServer, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Make the settings of a web tier on the queue."""
    for name, value in sqs.environ().items():
        monkeypatch.setenv(name, value)
    given = {"DURABILITY": "queue", "RECEIPT_SECRET": "s", "ROLE": "web", "S3_BUCKET": s3.bucket}
    return settings_for(tmp_path, **given, **sqs.environ())


@pytest.fixture
def run(settings: Settings) -> Run:
    """Run a command as `flask` does."""

    def no_pipeline() -> Pipeline:
        raise AssertionError("a command started a pipeline")

    flask = FlaskGroup(create_app=lambda: create_app(settings, pipeline=no_pipeline))
    return lambda *words: CliRunner().invoke(flask, words)


def configure(sqs: SqsServer, **attributes: str) -> None:
    """Set attributes of the queue."""
    client = sqs.client()
    url = client.get_queue_url(QueueName="jobs")["QueueUrl"]
    client.set_queue_attributes(QueueUrl=url, Attributes=attributes)


def test_check_names_what_bounds_the_promise(sqs: SqsServer, run: Run) -> None:
    """Retention, visibility and a redrive policy are no failure, and are named."""
    policy = {
        "deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:jobs",
        "maxReceiveCount": 5,
    }
    configure(sqs, MessageRetentionPeriod="259200", RedrivePolicy=json.dumps(policy))
    found = run("check")
    assert found.exit_code == 0, found.output
    assert "ok   queue: reach, write, configuration: after 3 days" in found.output
    assert "what is not in S3 is lost" in found.output
    assert "VisibilityTimeout is not used" in found.output
    assert "RedrivePolicy" in found.output
    assert "remove it" in found.output


def test_check_fails_where_messages_would_not_fit(sqs: SqsServer, run: Run) -> None:
    """A queue with the limit that was AWS's default before is refused, and says what to set."""
    configure(sqs, MaximumMessageSize="262144")
    found = run("check")
    assert found.exit_code == 1
    assert "FAIL queue" in found.output
    assert "MaximumMessageSize is 262144: set it to 1048576" in found.output


@pytest.mark.parametrize("words", [["list"], ["show", "x"], ["replay", "x"], ["replay", "--all"]])
def test_dead_letters_are_not_listed(run: Run, words: list[str]) -> None:
    """The command says where they are instead."""
    found = run("dead-letters", *words)
    assert found.exit_code == 1
    assert "Error: SQS has no list of dead letters: each has a note in the bucket" in found.output


@pytest.fixture
def web(settings: Settings, tmp_path: Path, real_bucket: Bucket) -> Iterator[Service]:
    """Run a web tier."""
    names = ("durability", "queue_url", "receipt_secret", "role", "s3_bucket")
    given = {name.upper(): getattr(settings, name) for name in names}
    service = Service(tmp_path, bucket=real_bucket, **given)
    yield service
    service.pipeline.stop()


def test_a_web_tier_that_s3_denies(web: Service, sqs: SqsServer, s3: FakeS3) -> None:
    """It accepts; of a receipt it says that no more is known here, and never that it is stored."""
    s3.faults(DENIED)
    answer = web.post([{"n": 1}])
    assert answer.status_code == 202
    assert sqs.left() == 1
    # Until then the receipt is of what is here.
    web.until(held_bytes=0)
    receipt = web.client.get(answer.headers["Location"])
    assert receipt.status_code == 200
    assert receipt.get_json()["state"] == "accepted"
    assert "S3" in receipt.get_json()["reason"]
    s3.stop_listening()
    away = web.client.get(answer.headers["Location"])
    assert (away.status_code, bool(away.headers["Retry-After"])) == (503, True)


@pytest.mark.parametrize("words", [["list"], ["show", "x"], ["bury", "x"]])
def test_segments_are_not_listed(run: Run, words: list[str]) -> None:
    """The command names the figures that CloudWatch has of the queue."""
    found = run("segments", *words)
    assert found.exit_code == 1
    assert "Error: SQS has no list of segments: CloudWatch has" in found.output
