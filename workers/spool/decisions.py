"""What an operator has decided about single segments: a file for each, synced, in `decisions/`.

A process that runs owns its segments, and one that starts owns those of dead processes. So a
command changes no segment: it writes the decision down, and the worker that has the segment next
carries it out, now or after any number of crashes. Knows no S3.
"""

import os
from pathlib import Path

import msgspec

from workers.errors import BucketBrigadeError
from workers.segments.naming import NAME
from workers.spool.documents import make_directory, write_document

DECISIONS = "decisions"


class UnreadableDecision(BucketBrigadeError):
    """A decision is damaged, or in the format of another version; its segment has to wait."""


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a segment goes instead: to `bucket`, or, where that is None, to the dead letters.

    `earlier` are the buckets that it was to go to before: one of them may hold it already. `look`
    is whether that has to be known. `written_at` is seconds since 1970.
    """

    segment: str
    bucket: str | None
    earlier: list[str]
    look: bool
    written_at: float


class Decisions:
    """The decisions of a spool. Methods block on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directory = root / DECISIONS

    def find(self, name: str) -> Decision | None:
        """Return the decision about a segment, or None.

        Raises:
            UnreadableDecision: see there.
        """
        try:
            return msgspec.json.decode(self._path(name).read_bytes(), type=Decision)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise UnreadableDecision(
                f"the decision about {name} cannot be read: {error}"
            ) from error

    def write(self, decision: Decision) -> None:
        """Write a decision in place of the one before."""
        make_directory(self._directory)
        path = self._path(decision.segment)
        write_document(path, msgspec.to_builtins(decision))
        if os.geteuid() == 0:
            # The service, which may not be root, has to read and remove it.
            owner = self._root.stat()
            for made in (self._directory, path):
                os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)
        for directory in (self._directory, self._root):
            _sync(directory)

    def drop_burial(self, name: str) -> None:
        """Remove the decision that a segment becomes a dead letter: it is one now.

        One about its bucket stays: receipts need it.
        """
        path = self._path(name)
        if path.exists() and (found := self.find(name)) is not None and found.bucket is None:
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        assert NAME.fullmatch(name)
        return self._directory / f"{name}.json"


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
