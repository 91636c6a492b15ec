"""Makes a process's part in the watermark of its spool, or of its queue."""

from collections.abc import Callable

from workers.settings.settings import Settings
from workers.spool.adoption import Adoption
from workers.spool.spool import Spool
from workers.stores.local_store import LocalStore
from workers.stores.store import Store
from workers.upload.s3 import Bucket
from workers.watermarks.queue_watermark import QueueWatermark, SharedProgress
from workers.watermarks.spool_watermark import SpoolWatermark
from workers.watermarks.watermark import Watermark


def make_watermark(
    settings: Settings,
    *,
    bucket: Bucket,
    store: Store,
    adoption: Adoption | None,
    progress: SharedProgress | None,
    opened_from: Callable[[], int],
) -> Watermark | None:
    """Return the part that this process has; None where it has none. Does not block."""
    if not settings.watermark_seconds:
        return None
    if progress is not None:
        return QueueWatermark(
            progress,
            bucket=bucket,
            place=settings.s3_bucket,
            seconds=settings.watermark_seconds,
        )
    if adoption is None or not isinstance(store, LocalStore):
        return None
    return SpoolWatermark(
        Spool(settings.spool_dir),
        settings=settings,
        bucket=bucket,
        own=lambda: store.own,
        adoption=adoption,
        opened_from=opened_from,
    )
