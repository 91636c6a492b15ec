"""Limits of less than a request a second hold as large ones do."""

import pytest

from app.access.key_usage import KeyUsage, SharedUsage
from app.access.limits import Limiter, TooManyRequests
from app.access.rules import Key, StreamPatterns


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 1, 3])
def test_a_small_limit_holds(rate: float) -> None:
    """Over a time for ten requests, asked for all the time, at most eleven pass, and nine do."""
    now = 100.0
    limiter = Limiter(SharedUsage(KeyUsage.anonymous()), clock=lambda: now)
    key = Key(name="k", scope="write", streams=StreamPatterns(), requests_per_second=rate)
    passed = 0
    for _ in range(1000):
        try:
            limiter.begin(key)
            passed += 1
        except TooManyRequests:
            pass
        now += 0.01 / rate
    assert 9 <= passed <= 11


@pytest.mark.parametrize("rate", [0.1, 0.3, 1])
def test_a_client_that_waits_passes(rate: float) -> None:
    """`Retry-After` is long enough: after it there is no second refusal."""
    now = 100.0
    limiter = Limiter(SharedUsage(KeyUsage.anonymous()), clock=lambda: now)
    key = Key(name="k", scope="write", streams=StreamPatterns(), requests_per_second=rate)
    for _ in range(5):
        limiter.begin(key)
        with pytest.raises(TooManyRequests) as caught:
            limiter.begin(key)
        now += int(caught.value.headers["Retry-After"])
