"""The CPU of the running service by thread: which thread counts as what."""

from benchmarks.stages.threads import BEHIND, ENGINE, REQUESTS, by_kind, since


def test_kinds_follow_from_the_order_of_starting() -> None:
    """Threads older than the engine's are behind requests, younger ones are for requests."""
    threads = [
        (10, "gunicorn", 1),
        (11, "gunicorn", 20),
        (12, "tokio-rt-worker", 300),
        (13, "gunicorn", 4000),
    ]
    assert by_kind(threads) == {BEHIND: 21, ENGINE: 300, REQUESTS: 4000}


def test_a_thread_that_starts_meanwhile_moves_no_other() -> None:
    """An engine that starts after the first reading counts from nothing."""
    before = [(11, "gunicorn", 20)]
    after = [(11, "gunicorn", 25), (12, "tokio-rt-worker", 3), (13, "gunicorn", 4)]
    assert by_kind(since(before, after)) == {BEHIND: 5, ENGINE: 3, REQUESTS: 4}
