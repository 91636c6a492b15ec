"""`QUEUE_URL` of SQS: what is read of it, and the exact mistake of what cannot be used."""

import pytest

from workers.errors import SettingsError
from workers.settings.queue import SqsUrl, read_sqs_url
from workers.settings.settings import load_settings

GIVEN = {"S3_BUCKET": "abc", "DURABILITY": "queue", "RECEIPT_SECRET": "s"}
GOOD = "sqs://eu-west-1/123456789012/jobs_1-a"


def test_a_url_names_region_account_and_queue() -> None:
    """The three parts of an AWS queue, as its URL or ARN has them."""
    assert read_sqs_url(GOOD) == SqsUrl(region="eu-west-1", account="123456789012", name="jobs_1-a")
    assert load_settings({**GIVEN, "QUEUE_URL": GOOD}).queue_url == GOOD


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("sqs://eu_west/123456789012/q", "a region"),
        ("sqs://eu-west-1/12345/q", "12 digits"),
        ("sqs://eu-west-1/123456789012/q.fifo", "FIFO"),
        ("sqs://eu-west-1/123456789012/", "1 to 80 letters"),
        ("sqs://eu-west-1/123456789012/a/b", "1 to 80 letters"),
        ("sqs://user:pw@eu-west-1/123456789012/q", "nothing else"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", "begins with none"),
    ],
)
def test_a_wrong_url_is_refused_with_its_mistake(url: str, mistake: str) -> None:
    """An operator reads what to change, and no password."""
    with pytest.raises(SettingsError, match=mistake) as caught:
        load_settings({**GIVEN, "QUEUE_URL": url})
    assert "pw" not in str(caught.value)


def test_what_has_no_effect_on_sqs_is_refused() -> None:
    """Settings of Redis, and a wait that a request could not outlast."""
    wrong = {"QUEUE_MAX_BYTES": "2000000", "REDIS_WAIT_REPLICAS": "1",
             "REQUEST_SECONDS": "10", "STORED_MAX_WAIT_SECONDS": "5"}  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises(SettingsError, match="STORED" if "SECONDS" in name else name):
            load_settings({**GIVEN, "QUEUE_URL": GOOD, **wrong} | {name: value})
