"""What the spool keeps for a person to look at, as lists: dead letters and quarantined files."""

import os
from pathlib import Path

import msgspec

from workers.spool.spool import DEAD, QUARANTINE, Spool

# So many of each are shown, the newest; their names begin with their time.
MAX_SHOWN = 50


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter, or a file in quarantine. What its note does not say is None."""

    name: str
    reason: str
    stream: str | None = None
    object: str | None = None
    payloads: int | None = None
    size: int | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are, and the newest."""

    count: int
    newest: list[Entry]


class _Note(msgspec.Struct):
    reason: str
    stream: str | None = None
    bucket: str | None = None
    key: str | None = None
    payloads: int | None = None


def dead_letters(spool: Spool) -> Kept:
    """Return the dead letters. Blocks on the disk."""
    return _kept(spool.root / DEAD, ending=".ndjson")


def quarantined(spool: Spool) -> Kept:
    """Return the damaged files that were set aside. Blocks on the disk."""
    return _kept(spool.root / QUARANTINE, ending="")


def _kept(directory: Path, *, ending: str) -> Kept:
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".json"))
    except OSError:
        names = []
    newest = [_entry(directory / name, ending=ending) for name in names[: -MAX_SHOWN - 1 : -1]]
    return Kept(count=len(names), newest=newest)


def _entry(path: Path, *, ending: str) -> Entry:
    try:
        note = msgspec.json.decode(path.read_bytes(), type=_Note)
    except (OSError, msgspec.DecodeError) as error:
        return Entry(name=path.stem, reason=f"its note cannot be read: {error}")
    place = f"s3://{note.bucket}/{note.key}" if note.bucket and note.key else None
    return Entry(
        name=path.stem,
        reason=note.reason,
        stream=note.stream,
        object=place,
        payloads=note.payloads,
        size=_size(path, ending=ending),
    )


def _size(note: Path, *, ending: str) -> int | None:
    endings = (ending,) if ending else (".open", ".ready")
    for each in endings:
        try:
            return note.with_suffix(each).stat().st_size
        except OSError:
            continue
    return None
