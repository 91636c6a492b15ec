"""Where a segment's object lives in the bucket: its name and its key, fixed at its creation.

A name sorts by time (`20261123T235301123456Z-9f86d081884c7d65`): microseconds of creation, then
64 random bits, so that a name cannot recur after a restart, or after the clock was set back, and
cannot be guessed from another.
"""

import os
import re
import time
from datetime import UTC, datetime

# Prefixes in the bucket that are the service's own, and so the names of no stream. Athena, Hive and
# Spark pass over names that begin with an underscore.
DEAD, WATERMARK = "_dead", "_watermark"
RESERVED = frozenset({DEAD, WATERMARK})
STREAM = re.compile(rf"(?!(?:{DEAD}|{WATERMARK})$)[a-z0-9_-]{{1,64}}")
NAME = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{16}")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html: at most 1,024 bytes
MAX_KEY_BYTES = 1024
EXTENSIONS = {"gzip": ".gz", "zstd": ".zst", "none": ""}
DEAD_PREFIX = f"{DEAD}/"
# A clock this little behind is being adjusted; one further behind was set back.
ADJUSTED_MICROSECONDS = 1_000_000


class Clock:
    """Hands out creation times in microseconds since 1970, by the wall clock.

    They rise strictly, so that names sort in the order of their creation, unless the clock is set
    back: then they follow it, and the random halves alone keep names apart. Not thread-safe: one
    caller at a time.
    """

    def __init__(self) -> None:
        self._last = 0

    def tick(self) -> int:
        """Return the time now, or one microsecond past the last answer. Does not block."""
        now = time.time_ns() // 1000
        is_set_back = now < self._last - ADJUSTED_MICROSECONDS
        self._last = now if is_set_back else max(self._last + 1, now)
        return self._last


def named_from() -> int:
    """Return a time, in microseconds since 1970, that no name given from now on lies before.

    Unless the clock is set back: further than it is when it is adjusted.
    """
    return time.time_ns() // 1000 - ADJUSTED_MICROSECONDS


def segment_name(created: int) -> str:
    """Name a segment created at `created` microseconds since 1970 (UTC)."""
    moment = datetime.fromtimestamp(created // 1_000_000, UTC)
    return f"{moment:%Y%m%dT%H%M%S}{created % 1_000_000:06d}Z-{os.urandom(8).hex()}"


def created_microseconds(name: str) -> int:
    """Read a segment's creation (microseconds since 1970) out of its name."""
    day, clock = name[:8], name[9:15]
    parts = (day[:4], day[4:6], day[6:], clock[:2], clock[2:4], clock[4:])
    moment = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[arg-type, misc]
    return int(moment.timestamp()) * 1_000_000 + int(name[15:21])


def default_template(compression: str) -> str:
    """Return the Hive-style default key template, its extension after the compression."""
    extension = EXTENSIONS[compression]
    return "{stream}/dt={date}/hour={hour}/{segment}.ndjson" + extension


def dead_marker(name: str) -> str:
    """Return the key of the note that tells other machines that a segment is dead."""
    return f"{DEAD_PREFIX}{name}.json"
