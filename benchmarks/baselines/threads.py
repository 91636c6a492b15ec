"""The second design: a thread per payload, as many as there are payloads."""

import threading
from collections.abc import Sequence

from benchmarks.baselines.front import Front, Store, TooManyThreads

# The design has no bound. This one protects the machine that the bench runs on.
MAX_THREADS = 2000
store = Store()


def take(payloads: Sequence[bytes]) -> None:
    """Start a thread for each payload.

    Raises:
        TooManyThreads: there are too many threads. Nothing was started.
    """
    if threading.active_count() + len(payloads) > MAX_THREADS:
        raise TooManyThreads
    for payload in payloads:
        threading.Thread(target=store.put, args=(payload,), daemon=True).start()


app = Front(take, tally=store.tally)
