"""Segments in memory: safe until the process dies.

The spool has the ledger, and takes what is not stored at a stop.
"""

import logging
from collections.abc import Sequence
from typing import Any

from workers.errors import NotConfirmed
from workers.segments.future import DurabilityFuture
from workers.segments.segment import Header, MemoryBody, Segment
from workers.stores.local_store import LocalStore, count

log = logging.getLogger(__name__)


class MemoryStore(LocalStore):
    """Keeps lines in memory until they are stored. Nothing blocks but `finish` and `persist`."""

    durable = False

    def create(self, header: Header) -> Segment:
        """Make a segment whose lines are in memory, and hold it."""
        segment = Segment(header, MemoryBody())
        self.directory.hold(segment)
        return segment

    def append(self, group: Sequence[DurabilityFuture]) -> None:
        """Keep the lines of a group.

        Raises:
            NotDurable: its keys have no room in the key log; nothing is kept.
            NotConfirmed: they could not be written there.
        """
        keyed = self.begin_keys(group)
        for future in group:
            for run in future.runs:
                body: Any = run.segment.body
                body.chunks.append(run.lines)
        count(group, self.counters)
        try:
            self.commit_keys(keyed)
        except OSError as error:
            raise NotConfirmed(f"the key log failed: {error.strerror}") from error

    def seal(self, segment: Segment) -> None:
        """Do nothing: what is in memory does not change."""

    def drop(self, segment: Segment) -> None:
        """Remove a segment without lines."""
        self.directory.finish(segment)

    def persist(self) -> None:
        """Write what is not stored into the spool, so that from then on a kill loses nothing."""
        for segment in self.unfinished():
            try:
                self.directory.keep(segment)
            except OSError:
                about = {"segment": segment.name, "payloads": segment.lines}
                log.exception("payloads cannot be written down", extra=about)
        super().persist()
