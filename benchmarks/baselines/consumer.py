"""The third design: one buffered queue with one consumer. One upload at a time is slow."""

import queue
import threading
from collections.abc import Sequence

from benchmarks.baselines.front import Front, Store

# The service's own default for MAX_QUEUE.
BUFFER = 1000
store = Store()
waiting: queue.Queue[bytes] = queue.Queue(BUFFER)


def take(payloads: Sequence[bytes]) -> None:
    """Queue each payload; blocks while the buffer is full, as a Go channel does."""
    for payload in payloads:
        waiting.put(payload)


def consume() -> None:
    """Upload one payload after another, without end."""
    while True:
        store.put(waiting.get())


threading.Thread(target=consume, name="consumer", daemon=True).start()
app = Front(take, tally=store.tally)
