"""The `Prefer` header: what is read out of it, by RFC 7240, and what is ignored."""

from typing import Any

import pytest

from app.access.rules import Endpoint, Webhook
from app.ingest.arrival import Arrival
from app.ingest.preferences import Preferences, preferences_of
from app.ingest.ways import Way
from workers.segments.finish import Finish


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("wait=10", 10),
        ("WAIT = 10", 10),
        ('wait="10"', 10),
        ('wait="1\\0"', 10),
        ("wait=10;foo=bar; baz", 10),
        ("respond-async, wait=10", 10),
        ('foo="a, wait=3", wait=10', 10),
        ('foo="a\\", wait=3", wait=10', 10),
        ("wait=10, wait=20", 10),
        (",, wait=10,", 10),
        ("foo; wait=3, wait=10", 10),
        ("wait=999999999999999999999", 30),
        ("wait=010", 10),
    ],
)
def test_a_wait_is_read(header: str, wait: int) -> None:
    """Names in any case, blanks, quotes, parameters, several preferences; 30 seconds at most."""
    found = Preferences.of(header)
    assert found is not None
    assert found.wait == wait


@pytest.mark.parametrize(
    "header",
    ["", "wait", "wait=", "wait=0", "wait=-1", "wait=1.5", "wait=٣", "wait=soon", "waits=3",
     "x; wait=3", 'x="wait=3', "wait=soon, wait=3", "return=minimal", '"wait"=3',
     "a" * 1000 + ", wait=3" + " " * 100],
)  # fmt: skip
def test_what_is_no_preference_is_ignored(header: str) -> None:
    """A bad value, an unknown name, an open quote and a header that is too long change nothing."""
    assert Preferences.of(header) is None


def test_a_server_may_wait_less() -> None:
    """Where a thread is held, the bound is lower, and the response says so."""
    found = Preferences.of("wait=20", max_wait=9)
    assert found is not None
    found.finish = Finish.EXPIRED
    assert found.applied() == [("Preference-Applied", "wait=9")]
    assert Preferences.of("wait=20", max_wait=0) is None


@pytest.mark.parametrize("finish", list(Finish))
def test_what_was_done_is_said(finish: Finish) -> None:
    """A wait that ended at a stop, or never began, is not one."""
    found = Preferences.of("wait=3")
    assert found is not None
    found.finish = finish
    assert bool(found.applied()) == (finish is not Finish.NOT_AWAITED)
    assert found.is_stored == (finish is Finish.STORED)


BOTH = "wait=3, handling=lenient"


@pytest.mark.parametrize(
    ("header", "wait", "is_lenient"),
    [
        ("handling=lenient", None, True),
        ('Handling="Lenient"', None, True),
        ("handling=lenient, wait=0", None, True),
        (BOTH, 3, True),
        ("handling=strict, handling=lenient, wait=3", 3, False),
    ],
)
def test_lenient_handling_is_read(header: str, wait: int | None, *, is_lenient: bool) -> None:
    """Beside a wait or without one; of two the first counts."""
    found = Preferences.of(header)
    assert found is not None
    assert (found.wait, found.rejected is not None) == (wait, is_lenient)


def arrival(way: Way) -> Arrival:
    """Make a request of a way arrive."""
    head: Any = None
    return Arrival(way=way, head=head)


def webhook(**options: Any) -> Way:
    """Return the way of a webhook."""
    made = Webhook(source="w", scheme="none", secrets=(), stream="s", **options)
    return Way("s", webhook=made)


def endpoint(**options: Any) -> Way:
    """Return the way of an endpoint."""
    return Way("s", endpoint=Endpoint(path="/b", stream="s", payloads="", **options))


@pytest.mark.parametrize(
    "way",
    [webhook(status=200), webhook(body="ok"), endpoint(status=204), endpoint(body="{}")],
)
def test_an_answer_of_the_access_file_stays(way: Way) -> None:
    """Where it sets the status or the body a client's preference changes nothing."""
    assert preferences_of(arrival(way), BOTH) is None


@pytest.mark.parametrize(
    ("way", "is_lenient"),
    [(webhook(), False), (endpoint(), True), (Way("s", is_events=True), True), (None, True)],
)
def test_each_other_way_can_wait(way: Way | None, *, is_lenient: bool) -> None:
    """A webhook too, but it is kept whole."""
    found = preferences_of(None if way is None else arrival(way), BOTH)
    assert found is not None
    assert (found.wait, found.rejected is not None) == (3, is_lenient)
    if way is not None and way.webhook is not None:
        assert preferences_of(arrival(way), "handling=lenient") is None
