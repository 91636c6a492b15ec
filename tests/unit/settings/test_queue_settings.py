"""The settings of the queue: what can be used, and what is wrong is named exactly, all at once."""

import pytest

from workers.errors import SettingsError
from workers.settings.queue import RedisUrl, read_redis_url
from workers.settings.settings import load_settings

GIVEN = {"S3_BUCKET": "events", "DURABILITY": "queue"}
WHOLE = {**GIVEN, "QUEUE_URL": "redis://host", "RECEIPT_SECRET": "s"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", {"nodes": (("h", 6379),), "name": "bucket-brigade", "tls": False}),
        ("rediss://h:1/3", {"nodes": (("h", 1),), "database": 3, "tls": True}),
        ("redis://u:p%40ss@h", {"username": "u", "password": "p@ss"}),
        ("redis://:secret@h", {"username": None, "password": "secret"}),
        ("redis://[::1]:7?name=orders", {"nodes": (("::1", 7),), "name": "orders"}),
        ("redis://a,b:2?sentinel=m", {"nodes": (("a", 26379), ("b", 2)), "sentinel": "m"}),
        ("redis://h?cluster=1", {"cluster": True}),
    ],
)
def test_a_url_says_where_the_server_is(url: str, expected: dict[str, object]) -> None:
    """Hosts, credentials, database, and the options after the question mark."""
    found: RedisUrl = read_redis_url(url)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "begins with none of"),
        ("redis://", "no host"),
        ("redis://h:x", "a port is a number"),
        ("redis://h:99999", "a port is a number"),
        ("redis://h/db", "the database is a number"),
        ("redis://h?name=a%20b", "name may have"),
        ("redis://h?nmae=a", "unknown option nmae"),
        ("redis://a,b", "several hosts are for Sentinels"),
        ("redis://h/2?cluster=1", "database 0 only"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, said: str) -> None:
    """The mistake is named, and the start ends with it."""
    with pytest.raises(SettingsError, match=f"QUEUE_URL: cannot be used: .*{said}"):
        load_settings({**WHOLE, "QUEUE_URL": url})


def test_a_password_is_in_no_message() -> None:
    """What is wrong with a URL is said without its credentials."""
    with pytest.raises(SettingsError) as caught:
        load_settings({**WHOLE, "QUEUE_URL": "redis://user:hunter2@host/x"})
    assert "hunter2" not in str(caught.value)


def test_what_a_queue_needs_is_listed_at_once() -> None:
    """With the mistakes in other settings."""
    with pytest.raises(SettingsError) as caught:
        load_settings({**GIVEN, "MAX_QUEUE": "x"})
    for name in ("QUEUE_URL", "RECEIPT_SECRET", "MAX_QUEUE"):
        assert f"  {name}: " in str(caught.value)


@pytest.mark.parametrize("given", [{"QUEUE_URL": "redis://h"}, {"ROLE": "web"}])
def test_what_is_for_a_queue_only(given: dict[str, str]) -> None:
    """A setting without effect is a mistake: it was meant for something."""
    with pytest.raises(SettingsError, match="is for DURABILITY=queue only"):
        load_settings({"S3_BUCKET": "events", **given})
