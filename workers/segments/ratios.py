"""How large a segment's object is going to be, from samples of its lines.

The compressor is given. Samples are compressed where lines are taken: a few percent of the lines,
so that it costs little, and no bound waits for another thread. Large collections are sampled before
they are placed, of all others one in many.
"""

import math
import random
import statistics
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from workers.segments.partitions import stream_of
from workers.segments.segment import Segment, SizeEstimate

# No object is larger than this many times the target, except one of a single larger payload.
MAX_FACTOR = 1.5
# A segment is sampled when it has taken this part of what it may yet take, uncompressed.
SAMPLE_SHARE = 1 / 8
MIN_SAMPLE_BYTES, MAX_SAMPLE_BYTES = 1 << 12, 1 << 16
# A collection of more than this part of the target is sampled before it is placed, once for each
# stride of it.
LARGE_SHARE, STRIDE_SHARE = 1 / 4, 1 / 8
# What an object may turn out to be larger than its samples say, in standard errors.
ERRORS = 3
# Objects that a stream's exponent is learnt from, and what bounds it and its effect.
LEARNT_OBJECTS, MAX_EXPONENT, MAX_CORRECTION = 5, 1.3, 1.4
# What compresses to more than this fraction says nothing of the exponent.
COMPRESSES = 0.9


class Sizes(msgspec.Struct, frozen=True, gc=False):
    """Bytes of lines: uncompressed, likely as stored, and what they do not exceed as stored."""

    size: int
    likely: float
    most: float


class Profile:
    """The sizes of a large collection's strides, all as long but the last. Does not block."""

    def __init__(self, stride: int, sizes: list[Sizes]) -> None:
        self._stride = stride
        self._sizes = sizes

    def sizes(self, start: int, end: int) -> Sizes:
        """Return the sizes of the bytes from `start` to `end`."""
        likely = most = 0.0
        for number, sizes in enumerate(self._sizes):
            first = number * self._stride
            inside = min(end, first + sizes.size) - max(start, first)
            if inside > 0:
                likely += sizes.likely * inside / sizes.size
                most += sizes.most * inside / sizes.size
        return Sizes(end - start, likely, most)

    def reach(self, start: int, target: float) -> int:
        """Return how many bytes from `start` on come to `target` bytes as stored."""
        reached = start
        for sizes in self._sizes[start // self._stride :]:
            left = sizes.size - reached % self._stride
            stored = left * sizes.likely / sizes.size
            if stored > target:
                return reached - start + int(left * target / stored)
            reached, target = reached + left, target - stored
        return reached - start


class Estimator:
    """Estimates the sizes of objects, and sets the bounds of segments by them.

    What changes a segment is called under the intake's lock; the rest is thread-safe.
    `target` is the size of an object in bytes, as stored. No segment has room for more than
    `max_size` bytes, uncompressed. `compressed_size` returns the length of some lines compressed by
    themselves. Remembers what the objects of the `max_streams` streams showed that were stored
    last: names are the clients'.
    """

    def __init__(
        self,
        *,
        target: int,
        max_size: int,
        max_streams: int,
        compresses: bool,
        compressed_size: Callable[[bytes], int],
    ) -> None:
        self._target = target
        self._max_size = max_size
        self._max_streams = max_streams
        self._compresses = compresses
        self._compressed_size = compressed_size
        wanted = min(max(target // 256, MIN_SAMPLE_BYTES), MAX_SAMPLE_BYTES)
        self._sample_bytes = max(1, min(wanted, target // 8))
        self._large = int(target * LARGE_SHARE)
        self._stride = max(1, int(target * STRIDE_SHARE))
        self._exponents: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def open(self, segment: Segment) -> None:
        """Set the bounds of a new segment. Does not block."""
        segment.estimate.exponent = self.exponent(segment.header.stream)
        self._set_bounds(segment)

    def profile(self, partition: str, lines: bytes) -> Profile | None:
        """Sample a collection if it is large. Takes about 50 µs for each 1/8 of the target."""
        if not self._compresses or len(lines) <= self._large:
            return None
        exponent = self.exponent(stream_of(partition))
        found = []
        for start in range(0, len(lines), self._stride):
            end = min(start + self._stride, len(lines))
            fraction = self._fraction([self._part(lines, start, end)])
            found.append(_sizes(end - start, fraction, exponent))
        return Profile(self._stride, found)

    def reach(self, profile: Profile | None, start: int) -> int:
        """Return how many bytes of a collection, from `start` on, a new segment has room for."""
        reach = self._target if profile is None else profile.reach(start, self._target)
        return max(1, min(reach, self._max_size))

    def fits(self, segment: Segment, sizes: Sizes) -> bool:
        """Whether a segment has room for lines of known sizes. Does not block."""
        estimate = segment.estimate
        unseen = segment.reserved_size - estimate.sampled
        return (
            segment.reserved_size + sizes.size <= self._max_size
            and estimate.likely + unseen * _guess(estimate) + sizes.likely <= self._target
            and unseen + sizes.most <= self._room(estimate)
        )

    def add(self, segment: Segment, sizes: Sizes) -> None:
        """Take note of lines of known sizes that a segment has just taken. Does not block."""
        estimate = segment.estimate
        fraction = sizes.most / sizes.size
        if estimate.sampled:
            estimate.variance += (sizes.size * (fraction - estimate.last)) ** 2 / 2
        estimate.last = fraction
        estimate.sampled += sizes.size
        estimate.likely += sizes.likely
        estimate.most += sizes.most
        self._set_bounds(segment)

    def sample(self, segment: Segment, lines: bytes) -> None:
        """Take some of the lines that a segment has just taken for its next sample.

        To be called for each run from when `reserved_size` has come to `sample_at`, which is put
        off once the sample is large enough. Takes about 50 µs then.
        """
        estimate = segment.estimate
        part = self._part(lines, 0, len(lines))
        estimate.parts.append(part)
        estimate.parts_size += len(part)
        if estimate.parts_size >= self._sample_bytes:
            fraction = self._fraction(estimate.parts)
            size = segment.reserved_size - estimate.sampled
            self.add(segment, _sizes(size, fraction, estimate.exponent))
            estimate.parts, estimate.parts_size = [], 0

    def learn(self, segment: Segment, *, size: int, stored: int) -> None:
        """Take note of a segment's object: its bytes before and after compression."""
        estimate = segment.estimate
        if estimate.sampled < size / 2 or not 0 < estimate.most < estimate.sampled * COMPRESSES:
            return
        exponent = math.log(stored / size) / math.log(estimate.most / estimate.sampled)
        stream = segment.header.stream
        with self._lock:
            learnt = self._exponents.pop(stream, None) or deque(maxlen=LEARNT_OBJECTS)
            learnt.append(min(max(exponent, 1.0), MAX_EXPONENT))
            self._exponents[stream] = learnt
            if len(self._exponents) > self._max_streams:
                del self._exponents[next(iter(self._exponents))]

    def exponent(self, stream: str) -> float:
        """Return the power of a sample's fraction that is the fraction of a whole object.

        A whole object compresses further than a sample of it, the more so the better it compresses,
        and not at all if the sample does not. Learnt from the stream's last objects.
        """
        with self._lock:
            learnt = self._exponents.get(stream)
            return statistics.median(learnt) if learnt else 1.0

    def _part(self, lines: bytes, start: int, end: int) -> bytes:
        """Return the size of a sample from anywhere between two offsets, or all if it is less."""
        spare = end - start - self._sample_bytes
        if spare > 0:
            start += random.randrange(spare + 1)
            end = start + self._sample_bytes
        return lines[start:end]

    def _fraction(self, parts: list[bytes]) -> float:
        sample = b"".join(parts)
        return self._compressed_size(sample) / len(sample)

    def _room(self, estimate: SizeEstimate) -> float:
        """Return how many bytes as stored a segment may yet take without being far too large."""
        error = ERRORS * math.sqrt(estimate.variance)
        return self._target * MAX_FACTOR - estimate.most - error

    def _set_bounds(self, segment: Segment) -> None:
        """Set how much a segment may take, uncompressed, and when it is sampled next.

        What was not sampled yet may turn out not to compress at all.
        """
        estimate = segment.estimate
        if not self._compresses:
            segment.target_size = min(self._target, self._max_size)
            return
        room = self._room(estimate)
        likely = (self._target - estimate.likely) / _guess(estimate)
        segment.target_size = min(estimate.sampled + min(room, likely), self._max_size)
        segment.sample_at = estimate.sampled + room * SAMPLE_SHARE


def _sizes(size: int, fraction: float, exponent: float) -> Sizes:
    """Return the sizes of `size` bytes of lines, of which a sample came to a fraction."""
    likely = max(fraction**exponent, fraction / MAX_CORRECTION)
    return Sizes(size, size * likely, size * fraction)


def _guess(estimate: SizeEstimate) -> float:
    """Return the fraction of what was not sampled: like the rest, or no compression."""
    return estimate.likely / estimate.sampled if estimate.sampled else 1.0
