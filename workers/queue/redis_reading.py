"""What is read of the queue without changing it: one segment's state, and the service's ledger."""

import msgspec

from workers.queue.redis_client import RedisServer, pairs
from workers.spool.counters import Field
from workers.stores.found import Found

_LEDGER = {
    b"accepted": Field.ACCEPTED,
    b"accepted_bytes": Field.ACCEPTED_BYTES,
    b"stored": Field.STORED,
    b"dead": Field.DEAD,
    b"held": Field.HELD_BYTES,
}


def find_segment(server: RedisServer, name: str) -> Found | None:
    """Say what became of the segment `name`; None where nothing is known. Blocks on the network.

    Raises:
        QueueUnavailable: the engine does not answer.
    """
    state = server.call("HGET", f"{server.prefix}segment:{name}", "state")
    if state == b"dead":
        note = server.call("HGET", f"{server.prefix}dead", name) or b"{}"
        return Found("dead", reason=str(msgspec.json.decode(note).get("reason")))
    if state is not None:
        return Found("accepted" if state == b"open" else "uploading")
    # Asked for last: a segment is done in the same moment as it is gone.
    done = server.call("GET", f"{server.prefix}done:{name}")
    return None if done is None else msgspec.json.decode(done, type=Found)


def read_ledger(server: RedisServer, cells: list[int]) -> list[int]:
    """Return a process's counters with the service's ledger in their place. Blocks.

    Raises:
        QueueUnavailable: the engine does not answer.
    """
    ledger = dict(pairs(server.call("HGETALL", f"{server.prefix}ledger")))
    for name, field in _LEDGER.items():
        cells[field] = int(ledger.get(name, 0))
    oldest = server.call("ZRANGE", f"{server.prefix}unstored", 0, 0, "WITHSCORES")
    cells[Field.OLDEST_MICROSECONDS] = int(float(oldest[1]) * 1000) if oldest else 0
    return cells
