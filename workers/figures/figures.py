"""What a process shows of itself. Times are seconds since 1970, sizes bytes."""

import msgspec

from workers.dispatch.activity import Failure, Work


class WorkerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """An upload thread; `work` is None while it is idle."""

    name: str
    work: Work | None
    last_failure: Failure | None


class PartitionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """An open segment of a stream whose keys have fields of the payload; `values` are those."""

    values: str
    open_payloads: int
    open_size: int
    open_since: float


class StreamFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A stream in this process: its open segments, one for each partition, and its rates.

    `open_size` is uncompressed. The rates are means over the last seconds. `partitions` are those
    with the most bytes; none where keys have no field of the payload.
    """

    stream: str
    open_segments: int
    open_payloads: int
    open_size: int
    open_since: float | None
    payloads_per_second: float
    bytes_per_second: float
    partitions: list[PartitionFigures] = []


class CauseFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What fails now: `key` says for which jobs, `error` is the last one in words.

    `waiting` jobs make no attempt until one, the next in `next_try_seconds`, succeeds.
    """

    key: tuple[str, ...]
    reason: str
    since: float
    error: str
    failures: int
    waiting: int
    next_try_seconds: float


class StoredFigures(msgspec.Struct, frozen=True, kw_only=True):
    """An object that was stored; `size` is uncompressed. `values` are as in `PartitionFigures`."""

    at: float
    stream: str
    segment: str
    bucket: str
    key: str
    payloads: int
    size: int
    stored_size: int
    values: str = ""


class ProcessFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A process that runs. `refusal` says why it takes no payloads, None where it does.

    `parked` are its jobs that wait for a next try, by reason. `streams` are those used last. `keys`
    are counters of access keys, as the process that counts orders them, where machines share a
    queue.
    """

    machine: str
    role: str
    pid: int
    started_at: float
    written_at: float
    refusal: str | None
    queued: int
    max_queue: int
    workers: list[WorkerFigures]
    streams: list[StreamFigures]
    open_segments: int
    parked: dict[str, int]
    causes: list[CauseFigures]
    objects: list[StoredFigures]
    keys: dict[str, list[int]]
