"""The `Prefer` header: what is read out of it, by RFC 7240, and what is ignored."""

import pytest

from app.ingest.preferences import Preferences
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
