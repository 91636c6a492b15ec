"""The CPU of the running service by thread: which thread counts as what."""

from benchmarks.stages.threads import BEHIND, ENGINE, REQUESTS, by_kind


def test_kinds_follow_from_the_order_of_starting() -> None:
    """Threads older than the engine's are behind requests, younger ones are for requests."""
    threads = [
        (10, "gunicorn", 1),
        (11, "gunicorn", 20),
        (12, "tokio-rt-worker", 300),
        (13, "gunicorn", 4000),
    ]
    assert by_kind(threads) == {BEHIND: 21, ENGINE: 300, REQUESTS: 4000}
