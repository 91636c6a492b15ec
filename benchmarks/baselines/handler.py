"""The first design: upload inside the handler. The client waits for every PUT."""

from collections.abc import Sequence

from benchmarks.baselines.front import Front, Store

store = Store()


def take(payloads: Sequence[bytes]) -> None:
    """Store each payload before the answer."""
    for payload in payloads:
        store.put(payload)


app = Front(take, tally=store.tally)
