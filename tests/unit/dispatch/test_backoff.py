"""The pauses between tries: spread, and bounded."""

import random

import pytest

from workers.dispatch.backoff import BASE_SECONDS, CAP_SECONDS, delay


def bounds(monkeypatch: pytest.MonkeyPatch, *attempts: int) -> list[tuple[float, float]]:
    """Return what each pause is drawn from; none is waited for."""
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.0

    monkeypatch.setattr(random, "uniform", draw)
    for attempt in attempts:
        delay(attempt)
    return drawn


def test_pauses_are_jittered_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause is anything from nothing to a bound that doubles, so that a crowd spreads."""
    doubling = [(0, BASE_SECONDS * 2), (0, BASE_SECONDS * 4), (0, BASE_SECONDS * 8)]
    assert bounds(monkeypatch, 1, 2, 3) == doubling


def test_pauses_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    """After hours of outage a try comes every half minute at least, and no number explodes."""
    assert bounds(monkeypatch, 10, 10_000) == [(0, CAP_SECONDS)] * 2
