"""Placing: room and line numbers in open segments for a whole collection, or a refusal.

Called under the intake's lock; nothing here blocks. Knows no S3, no disk and no committer.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import NoReturn

from workers.errors import Full, TooManyPayloads, UnknownStream
from workers.intake.placement import Piece, Plan, cut, fits, is_void
from workers.intake.sealing import Sealing
from workers.segments.future import Run
from workers.segments.key_template import KeyTemplate
from workers.segments.naming import Clock, segment_name
from workers.segments.partitions import Indexes, Part, stream_of, take_indexes
from workers.segments.ratios import Estimator, Profile, Sizes
from workers.segments.segment import RUN_BYTES, SEGMENT_BYTES, Header, Segment
from workers.settings.settings import Settings
from workers.spool.counters import Counters, Field
from workers.stores.store import Store

# Looked up once, as a look-up takes longer than reading the counter.
_HELD_BYTES = Field.HELD_BYTES


class Placing:
    """Reserves room in the open segments, and opens them.

    `on_first` is called when the first segment is opened while none is open.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        counters: Counters,
        sealing: Sealing,
        estimator: Estimator,
        max_jobs: int,
        on_first: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._counters = counters
        self._sealing = sealing
        self._estimator = estimator
        self._max_jobs = max_jobs
        self._max_lines = settings.object_max_payloads
        self._on_first = on_first
        self._open = sealing.open
        self._template = KeyTemplate.parse(settings.key_template)
        self._clock = Clock()
        self._uses = 0

    def join(self, partition: str, lines: bytes, count: int, profile: Profile | None) -> Run | None:
        """Reserve room in the partition's open segment; None where there is none, or no room."""
        segment = self._open.get(partition)
        if segment is None:
            return None
        if profile is None:
            sizes, fit = None, fits(segment, len(lines), count, self._max_lines)
        else:
            sizes = profile.sizes(0, len(lines))
            fit = self._fits(segment, lines, count, sizes)
        if not fit:
            return None
        if not self._store.has_room(len(lines) + RUN_BYTES):
            self._refuse_budget()
        return self._reserve(segment, lines, count, sizes)

    def _fits(self, segment: Segment, lines: bytes, count: int, sizes: Sizes | None) -> bool:
        size = len(lines) if sizes is None else 0
        return fits(segment, size, count, self._max_lines) and (
            sizes is None or self._estimator.fits(segment, sizes)
        )

    def place(
        self, parts: Sequence[Part], profiles: Sequence[Profile | None]
    ) -> tuple[list[Run], list[Segment]]:
        """Reserve room for a whole collection, or raise with nothing reserved.

        Returns:
            The runs it is cut into, and the segments that make way and are to be sealed.
        """
        if not any(profiles) and (joined := self._join_all(parts)):
            return joined, []
        plans = [self._plan(part, profile) for part, profile in zip(parts, profiles, strict=True)]
        jobs, size = sum(plan.jobs for plan in plans), sum(plan.size for plan in plans)
        most = sum(len(plan.pieces) - 1 for plan in plans)
        if most > self._max_jobs or size > self._store.max_bytes // 2:
            raise self._too_many(parts)
        if len(plans) > self._settings.max_streams:
            most = self._settings.max_streams
            raise TooManyPayloads(f"payloads of more than {most} partitions never fit at once")
        if jobs > self._sealing.room():
            raise Full("the queue is full")
        if not self._store.has_room(size):
            self._refuse_budget()
        self._make_way(plans, jobs)
        runs: list[Run] = []
        replaced: list[Segment] = []
        for plan in plans:
            placed = self._carry_out(plan)
            if plan.segment is not None and not plan.joins:
                replaced.append(plan.segment)
            replaced += [run.segment for run in placed[:-1]]
            runs += placed
        return runs, replaced

    def _join_all(self, parts: Sequence[Part]) -> list[Run] | None:
        """As `join`, for parts that are not large: all of them, or none."""
        segments, size = [], len(parts) * RUN_BYTES
        for part in parts:
            segment, length = self._open.get(part.partition), len(part.lines)
            if segment is None or not fits(segment, length, part.count, self._max_lines):
                return None
            segments.append(segment)
            size += length
        if size > self._store.max_bytes // 2 or not self._store.has_room(size):
            return None
        return [
            self._reserve(segment, part.lines, part.count, None, part.indexes)
            for segment, part in zip(segments, parts, strict=True)
        ]

    def _plan(self, part: Part, profile: Profile | None) -> Plan:
        segment = self._open.get(part.partition)
        lines, count = part.lines, part.count
        sizes = profile.sizes(0, len(lines)) if profile else None
        if segment is not None and self._fits(segment, lines, count, sizes):
            return Plan(part, profile, segment, joins=True, pieces=[(lines, count)])
        if segment is not None and is_void(segment):
            self._sealing.seal(segment)
            segment = None
        if segment is None:
            self._check_stream(part.stream)
        if count > self._max_lines * (self._max_jobs + 1):
            raise self._too_many([part])
        reach = partial(self._estimator.reach, profile)
        pieces = cut(lines, count, reach=reach, max_lines=self._max_lines)
        self._check_payload(pieces)
        return Plan(part, profile, segment, joins=False, pieces=pieces)

    def _carry_out(self, plan: Plan) -> list[Run]:
        """Reserve what is planned for one part."""
        part, profile, segment = plan.part, plan.profile, plan.segment
        runs, start, rest = [], 0, part.indexes
        for lines, count in plan.pieces:
            if segment is None or not plan.joins:
                segment = self._open_segment(part.partition)
            sizes = profile.sizes(start, start + len(lines)) if profile else None
            indexes = rest
            if len(plan.pieces) > 1:
                indexes, rest = take_indexes(rest, count)
            runs.append(self._reserve(segment, lines, count, sizes, indexes))
            start += len(lines)
        return runs

    def _too_many(self, parts: Sequence[Part]) -> TooManyPayloads:
        count, size = sum(part.count for part in parts), sum(len(part.lines) for part in parts)
        return TooManyPayloads(f"{count} payloads ({size} bytes) never fit at once")

    def _check_payload(self, pieces: Sequence[Piece]) -> None:
        """Refuse a payload that is larger than a segment may be."""
        limit = self._store.segment_bytes
        if limit is None:
            return
        largest = max(len(lines) for lines, _ in pieces)
        if largest > limit:
            raise TooManyPayloads(
                f"a payload of {largest} bytes never fits: the queue takes at most {limit}"
            )

    def _check_stream(self, stream: str) -> None:
        """Refuse a stream that the operator does not allow; one that is open is allowed."""
        if not any(fnmatchcase(stream, pattern) for pattern in self._settings.streams):
            raise UnknownStream(f"this service takes no stream {stream}")

    def _make_way(self, plans: Sequence[Plan], jobs: int) -> None:
        """Seal the segments that were used least lately where more are to be opened."""
        opened = sum(plan.segment is None for plan in plans)
        excess = len(self._open) + opened - self._settings.max_streams
        if excess <= 0:
            return
        if jobs + excess > self._sealing.room():
            self._sealing.starved = True
            raise Full(f"the queue is full and {len(self._open)} streams are open already")
        self._sealing.seal_least_used(excess, kept={plan.segment for plan in plans if plan.segment})

    def _open_segment(self, partition: str) -> Segment:
        name = segment_name(self._clock.tick())
        header = Header(
            name=name,
            stream=stream_of(partition),
            bucket=self._settings.s3_bucket,
            key=self._template.key(partition, name),
            compression=self._settings.compression,
        )
        segment = self._store.create(header)
        segment.partition = partition
        self._estimator.open(segment)
        self._open[partition] = segment
        if len(self._open) == 1:
            self._on_first()
        return segment

    def _reserve(
        self,
        segment: Segment,
        lines: bytes,
        count: int,
        sizes: Sizes | None,
        indexes: Indexes | None = None,
    ) -> Run:
        size, first_line = len(lines), segment.reserved_lines + 1
        held = size + RUN_BYTES + (SEGMENT_BYTES if first_line == 1 else 0)
        segment.last_use = self._uses = self._uses + 1
        segment.reserved_lines += count
        segment.reserved_size += size
        if sizes is not None:
            self._estimator.add(segment, sizes)
        elif segment.reserved_size >= segment.sample_at:
            self._estimator.sample(segment, lines)
        segment.held_bytes += held
        self._counters.add(_HELD_BYTES, held)
        return Run(segment, first_line, lines, count, indexes)

    def _refuse_budget(self) -> NoReturn:
        self._sealing.seal_largest()
        raise Full("the byte budget is used up")
