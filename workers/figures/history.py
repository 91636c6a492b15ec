"""The service's counts over the last ten minutes, in a file that the processes of a spool share.

    SPOOL_DIR/figures/history    SLOTS slots of 64 bytes: 7 64-bit numbers, and their XOR

The slot of a moment is its number of `STEP_SECONDS` modulo `SLOTS`. The first process that comes to
it writes it, the others see that it is done. Never synced: it is worth nothing tomorrow.
"""

import contextlib
import os
import struct
import time
from collections.abc import Callable
from functools import reduce
from operator import xor
from pathlib import Path

import msgspec

from workers.figures.published import FIGURES
from workers.spool.counters import Field, Totals
from workers.spool.disk import FILE_MODE, set_mode
from workers.spool.documents import make_directory

HISTORY = "history"
STEP_SECONDS, SLOTS = 2.0, 300
_SLOT = struct.Struct("<8q")
REFUSED = [field for field in Field if field.name.startswith(("REQUESTS_4", "REQUESTS_5"))]


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The service's counts at a moment, in seconds since 1970. `refused` counts responses."""

    at: float
    accepted: int
    stored: int
    refused: int
    pending: int
    held_bytes: int
    dead: int


def moment_of(totals: Totals, *, at: float) -> Moment:
    """Return what is kept of the service's sums."""
    return Moment(
        at=at,
        accepted=totals[Field.ACCEPTED],
        stored=totals[Field.STORED],
        refused=sum(totals[field] for field in REFUSED),
        pending=totals.pending,
        held_bytes=totals[Field.HELD_BYTES],
        dead=totals[Field.DEAD],
    )


class History:
    """The file. Methods block on the disk and do not raise."""

    def __init__(self, root: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = root / FIGURES / HISTORY
        self._now = now
        self._last = -1

    def note(self, totals: Callable[[], Totals]) -> None:
        """Write the present slot, unless it is written; `totals` is asked for only then."""
        now = self._now()
        step = int(now / STEP_SECONDS)
        if step == self._last:
            return
        with contextlib.suppress(OSError):
            file = self._open()
            try:
                self._last = step
                offset = step % SLOTS * _SLOT.size
                found = _unpack(os.pread(file, _SLOT.size, offset))
                if found is None or int(found.at / STEP_SECONDS) != step:
                    os.pwrite(file, _pack(moment_of(totals(), at=now)), offset)
            finally:
                os.close(file)

    def read(self) -> list[Moment]:
        """Return the moments of the last ten minutes, oldest first."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return []
        slots = (content[at : at + _SLOT.size] for at in range(0, len(content), _SLOT.size))
        now = self._now()
        oldest = now - SLOTS * STEP_SECONDS
        found = [moment for moment in map(_unpack, slots) if moment is not None]
        return sorted(
            (moment for moment in found if oldest < moment.at <= now + STEP_SECONDS),
            key=lambda moment: moment.at,
        )

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(self._path, flags)
        except FileNotFoundError:
            make_directory(self._path.parent)
            file = os.open(self._path, flags | os.O_CREAT, FILE_MODE)
            set_mode(file, FILE_MODE)
            return file


def _pack(moment: Moment) -> bytes:
    at, *counts = msgspec.structs.astuple(moment)
    numbers = [int(at * 1e6), *counts]
    return _SLOT.pack(*numbers, reduce(xor, numbers))


def _unpack(slot: bytes) -> Moment | None:
    """Read a slot; None where nothing is written, or two processes wrote at one time."""
    if len(slot) < _SLOT.size:
        return None
    *numbers, check = _SLOT.unpack(slot)
    if not numbers[0] or reduce(xor, numbers) != check:
        return None
    at, accepted, stored, refused, pending, held_bytes, dead = numbers
    return Moment(
        at=at / 1e6,
        accepted=accepted,
        stored=stored,
        refused=refused,
        pending=pending,
        held_bytes=held_bytes,
        dead=dead,
    )
