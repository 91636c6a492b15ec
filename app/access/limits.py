"""Rate limits of keys: a token bucket for each, which sees what other processes let through."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.access.key_usage import Use
from app.access.rules import Key
from app.http.problems import Problem

# A bucket holds as much as may be used in this time: half of what the limit may be passed by, which
# is 10 % over ten seconds.
BURST_SECONDS = 0.5
MAX_BUCKETS = 4096
# What must be left of a limit: a whole request, but for what floating-point numbers lose; of bytes
# anything, as a body may be larger than the bucket.
ONE_REQUEST, SOME_BYTES = 1 - 1e-6, 1e-6
# What other processes used is paid back for so long at most: where their files could not be read
# for an hour, all of it comes at once.
MAX_OTHERS_SECONDS = 60


class Usage(Protocol):
    """The use of keys on this machine, by this process and by the others."""

    def others(self, name: str, use: Use) -> int:
        """Return what other processes have counted; it only rises, but when one of them ends."""
        ...


class TooManyRequests(Problem):
    """429: the key is at its limit (RFC 6585 section 4)."""

    def __init__(self, detail: str, *, retry_after: int) -> None:
        headers = {"Retry-After": str(max(1, retry_after))}
        super().__init__(detail, status=429, headers=headers)


@dataclass(slots=True)
class _Bucket:
    """What is left of a limit. It may fall below 0 by one body, and is paid back by time."""

    rate: float
    tokens: float
    filled_at: float
    others: int


class Limiter:
    """The limits of all keys. Thread-safe; no call blocks."""

    def __init__(self, usage: Usage, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._usage = usage
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, Use], _Bucket] = {}

    def begin(self, key: Key, size: int = 0) -> None:
        """Count a request of a key against its limits, before its body of `size` bytes is read.

        Bodies on many connections at a time would all pass if they were counted once they are here.

        Raises:
            TooManyRequests: the key is at a limit; nothing is counted.
        """
        if key.requests_per_second is None and key.bytes_per_second is None:
            return
        with self._lock:
            if key.bytes_per_second is not None:
                size_bucket = self._check(key, Use.BYTES, key.bytes_per_second, "bytes")
            if key.requests_per_second is not None:
                bucket = self._check(key, Use.REQUESTS, key.requests_per_second, "requests")
                bucket.tokens -= 1
            if key.bytes_per_second is not None:
                size_bucket.tokens -= size

    def charge(self, key: Key, size: int) -> None:
        """Count bytes of a request's body beyond those that were expected, or give some back."""
        if key.bytes_per_second is not None:
            with self._lock:
                self._bucket(key.name, Use.BYTES, key.bytes_per_second).tokens -= size

    def _check(self, key: Key, use: Use, rate: float, what: str) -> _Bucket:
        bucket = self._bucket(key.name, use, rate)
        needed = ONE_REQUEST if use is Use.REQUESTS else SOME_BYTES
        if bucket.tokens < needed:
            wait = math.ceil((needed - bucket.tokens) / rate)
            raise TooManyRequests(
                f"The key's limit of {rate:g} {what} a second is reached.", retry_after=wait
            )
        return bucket

    def _bucket(self, name: str, use: Use, rate: float) -> _Bucket:
        now, others = self._clock(), self._usage.others(name, use)
        bucket = self._buckets.get((name, use))
        full = max(1.0, rate * BURST_SECONDS)
        if bucket is None or bucket.rate != rate:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets.clear()
            # Where others use the key, how much of the burst is left is not known: one request is.
            left = full if not others else 1.0
            bucket = self._buckets[name, use] = _Bucket(rate, left, now, others)
            return bucket
        gained = rate * (now - bucket.filled_at)
        # Where a process has ended, its use is gone from the sum.
        used = min(max(0, others - bucket.others), rate * MAX_OTHERS_SECONDS)
        bucket.tokens = min(full, bucket.tokens + gained) - used
        bucket.filled_at, bucket.others = now, others
        return bucket
