"""What `DURABILITY=stored` changes in other settings: no disk is used.

Counters, and what processes show each other, are in a directory in memory instead of `SPOOL_DIR`;
with `queue` the counters are.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError, validates_schema

from workers.errors import SpoolError
from workers.settings.queue import QUEUE

STORED = "stored"
# What is not in S3 yet is in memory, or in a queue.
DISKLESS = (STORED, QUEUE)
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (its directory is the user's own)


class StoredSchema(Schema):
    """Mistakes that only `DURABILITY=stored` makes, for the schema of all settings to inherit."""

    @validates_schema
    def fit_stored(self, data: Mapping[str, Any], **_: object) -> None:
        """Refuse what a request could not wait for, and what is not offered."""
        if data.get("durability") != STORED:
            return
        faults: dict[str, list[str]] = {}
        if data.get("watermark_seconds"):
            faults["watermark_seconds"] = [f"is not offered with DURABILITY={STORED}"]
        wait, request = data.get("stored_max_wait_seconds"), data.get("request_seconds")
        if wait and request and wait > request / 4:
            text = f"must be at most a quarter of REQUEST_SECONDS with DURABILITY={STORED}"
            faults["stored_max_wait_seconds"] = [text]
        if faults:
            raise ValidationError(faults)


def counters_directory(bucket: str, port: int | None, *, durability: str = STORED) -> Path:
    """Return the directory of a service's counters: the same in all processes and commands."""
    # What was counted in one mode is nothing in another.
    about = [bucket, str(port), *([] if durability == STORED else [durability])]
    mark = hashlib.sha256("\n".join(about).encode()).hexdigest()[:12]
    return place_in_memory() / f"bucket-brigade-{os.geteuid()}-{mark}"


def make_own(directory: Path, *, owner: int) -> None:
    """Make a directory in a place that all users write to, unless `owner` (a number) has one there.

    Raises:
        SpoolError: it cannot be made; or another user made it, or a link: nothing is written to it.
    """
    try:
        directory.mkdir(mode=0o750, exist_ok=True)
        found = os.lstat(directory)
    except OSError as error:
        raise SpoolError(f"{directory} cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
        raise SpoolError(f"{directory} is not this service's own: another user has made it")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise SpoolError(f"{directory} can be written by others")


def place_in_memory() -> Path:
    """Return where small files can be without a disk; the temporary directory where there is none.

    Raises:
        ValidationError: there is no place at all.
    """
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK):
        return SHARED_MEMORY
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        fault = f"it needs {SHARED_MEMORY}, or TMPDIR, for its counters"
        raise ValidationError({"durability": [fault]}) from error
