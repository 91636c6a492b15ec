"""What `DURABILITY` chooses: where segments are until S3 has them, and what comes with that place.

The one place that knows which stores there are.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from types import ModuleType

from workers.dispatch import backoff
from workers.errors import SettingsError
from workers.figures.machine import MachineCounters
from workers.figures.place import LocalPlace, Place
from workers.figures.queued import QueuedPlace
from workers.keys.claim import KeyStore
from workers.keys.recovered import key_logger
from workers.operate.dead_letters import DeadLetters
from workers.operate.queued_dead_letters import QueuedDeadLetters
from workers.operate.queued_segments import QueuedSegments
from workers.operate.receipts import Receipts
from workers.operate.segments import Segments
from workers.overview.seen import QueueSight, Seen, SpoolSight
from workers.segments.segment import Header
from workers.settings.queue import QUEUE, is_sqs
from workers.settings.settings import Settings
from workers.settings.stored import DISKLESS, STORED
from workers.spool.adoption import Adoption
from workers.spool.decisions import Decisions
from workers.spool.spool import Spool
from workers.stores.committer import Committer, InlineCommitter, Journal
from workers.stores.disk_store import DiskStore
from workers.stores.found import found_on_disk
from workers.stores.job_source import AdoptedJobs, JobSource
from workers.stores.memory_store import MemoryStore
from workers.stores.store import Store
from workers.stores.stored_committer import StoredCommitter
from workers.stores.stored_store import StoredStore
from workers.upload.decided import Decided
from workers.upload.s3 import Bucket
from workers.watermarks.queue_watermark import SharedProgress

# Of `DRAIN_SECONDS`: requests that still wait for S3 at a stop have an answer before its end.
STOP_SHARE = 0.75


def _ignore(deadline: float) -> None:
    del deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The store, the committer before it, and the jobs of other processes in it.

    `bucket_for` says where a segment goes, by the `decisions` of operators where there can be any;
    `adoption` has the directories of dead processes, where they are on this machine. Without `keys`
    no request may have an Idempotency-Key. `progress` is that of a queue that machines share, in a
    process that uploads. `figures` is where the process shows itself. `delay` is how long a job
    waits after so many failures. `end_by` says when a stop ends: nothing waits there for longer.
    """

    store: Store
    committer: Journal
    source: JobSource
    bucket_for: Callable[[Header], str | None] = attrgetter("bucket")
    decisions: Decisions | None = None
    adoption: Adoption | None = None
    keys: KeyStore | None = None
    figures: Place | None = None
    progress: SharedProgress | None = None
    delay: Callable[[int], float] = backoff.delay
    end_by: Callable[[float], None] = _ignore


def open_storage(settings: Settings, *, bucket: Bucket) -> Storage:
    """Make the parts that `DURABILITY` asks for. Blocks on the disk, or on the network."""
    if settings.durability == QUEUE:
        return _on_queue(settings)
    if settings.durability == STORED:
        return _in_s3(settings)
    return _on_this_machine(settings, bucket)


def _on_this_machine(settings: Settings, bucket: Bucket) -> Storage:
    spool = Spool(settings.spool_dir)
    store: MemoryStore | DiskStore
    committer: Journal
    if settings.durability == "memory":
        store = MemoryStore(spool, max_bytes=settings.memory_max_bytes)
        committer = InlineCommitter(store)
    else:
        store = DiskStore(spool, max_bytes=settings.spool_max_bytes)
        committer = Committer(store)
    keys = store.use_keys(settings)
    adoption = Adoption(spool, log_keys=key_logger(keys, disk=spool.disk))
    decisions = Decisions(spool.root)
    return Storage(
        store=store,
        committer=committer,
        source=AdoptedJobs(adoption, keys=keys),
        keys=keys,
        bucket_for=Decided(bucket, decisions).bucket_for,
        decisions=decisions,
        adoption=adoption,
        figures=LocalPlace(spool.root, totals=store.totals),
    )


def _in_s3(settings: Settings) -> Storage:
    spool = Spool(settings.spool_dir)
    store, adoption = StoredStore(spool, settings=settings), Adoption(spool)
    return Storage(
        store=store,
        committer=StoredCommitter(store, stop_seconds=STOP_SHARE * settings.drain_seconds),
        source=AdoptedJobs(adoption, keys=None),
        decisions=Decisions(spool.root),
        adoption=adoption,
        figures=LocalPlace(spool.root, totals=store.totals),
        # Clients wait for the next try.
        delay=partial(backoff.delay, cap=settings.request_seconds / 5),
    )


def _on_queue(settings: Settings) -> Storage:
    module = _queue_module(settings)
    counting = MachineCounters(Spool(settings.spool_dir))
    store, committer, source = module.open_queue(settings, counting)
    figures, end_by = None, _ignore
    # Nothing but messages can be kept in SQS.
    if not is_sqs(settings.queue_url):
        end_by = store.server.end_by
        figures = QueuedPlace(
            store.server, counters=store.counters, max_bytes=lambda: store.max_bytes
        )
    progress = None
    if settings.watermark_seconds and settings.role != "web":
        progress = module.open_progress(settings)
    return Storage(
        store=store,
        committer=committer,
        source=source,
        keys=store.keys,
        progress=progress,
        figures=figures,
        end_by=end_by,
    )


def has_spool(settings: Settings) -> bool:
    """Whether segments are in files of this machine."""
    return settings.durability not in DISKLESS


def open_receipts(settings: Settings, *, bucket: Bucket) -> Receipts:
    """Return the receipts as a command looks them up, without a store of its own."""
    if settings.durability == QUEUE:
        module = _queue_module(settings)
        look = partial(module.find_segment, module.open_server(settings))
        return Receipts(settings, bucket=bucket, look=look)
    spool = Spool(settings.spool_dir)
    return Receipts(
        settings,
        bucket=bucket,
        look=partial(found_on_disk, spool),
        decisions=Decisions(spool.root),
    )


def open_dead_letters(settings: Settings, *, bucket: Bucket) -> DeadLetters | QueuedDeadLetters:
    """Return the dead letters, where the service keeps them.

    Raises:
        SettingsError: they are nowhere that they could be listed.
    """
    if is_sqs(settings.queue_url):
        raise SettingsError(
            "SQS has no list of dead letters: each has a note in the bucket, under _dead/, and its "
            "message is tried again until MessageRetentionPeriod ends"
        )
    if settings.durability == QUEUE:
        module = _queue_module(settings)
        return QueuedDeadLetters(module.open_server(settings), bucket=bucket)
    return DeadLetters(Spool(settings.spool_dir), bucket=bucket)


def open_sight(settings: Settings) -> Callable[[], Seen]:
    """Return what looks at the whole service, with or without a running process here.

    It blocks on the disk or on the network, and may raise `OSError`.

    Raises:
        SettingsError: there is no place where it shows itself.
    """
    if is_sqs(settings.queue_url):
        raise SettingsError("processes on SQS show themselves nowhere: each has its own /metrics")
    if settings.durability == QUEUE:
        module = _queue_module(settings)
        server = module.open_server(settings)
        return QueueSight(server, totals=partial(module.read_totals, server))
    return SpoolSight(Spool(settings.spool_dir), settings)


def open_segments(settings: Settings) -> Segments | QueuedSegments:
    """Return the segments that are not stored, where the service keeps them.

    Raises:
        SettingsError: they are nowhere that they could be listed.
    """
    if is_sqs(settings.queue_url):
        raise SettingsError(
            "SQS has no list of segments: CloudWatch has ApproximateNumberOfMessagesVisible and "
            "ApproximateAgeOfOldestMessage"
        )
    if settings.durability == QUEUE:
        return QueuedSegments(_queue_module(settings).open_server(settings))
    return Segments(Spool(settings.spool_dir))


def queue_probe(settings: Settings) -> Callable[[], str | None] | None:
    """Return what tries the queue, None where there is none."""
    if settings.durability != QUEUE:
        return None
    module = _queue_module(settings)
    return partial(
        module.try_server,
        module.open_server(settings),
        max_bytes=settings.queue_max_bytes,
        replicas=settings.redis_wait_replicas,
    )


def _queue_module(settings: Settings) -> ModuleType:
    """Import what knows the engine, only where it is used: it takes a tenth of a second.

    Raises:
        SettingsError: its packages are not installed.
    """
    if is_sqs(settings.queue_url):
        return importlib.import_module("workers.sqs.opening")
    try:
        return importlib.import_module("workers.queue.opening")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"DURABILITY=queue needs the packages of requirements-redis.txt: {error}"
        ) from error
