"""Counters of a process that keeps nothing on its machine: in memory that its processes share.

They are those of a spool without segments, in `/dev/shm`, so that a killed process's counts stay.
"""

import contextlib
import logging

from workers.errors import SpoolError
from workers.spool.counters import Counters, Totals
from workers.spool.process_spool import ProcessSpool
from workers.spool.spool import Spool

log = logging.getLogger(__name__)


class MachineCounters:
    """One process's counters, and the sums of its machine's. Blocks briefly, on files in memory.

    Where the files cannot be made the process counts for itself alone, as without a `spool`.
    """

    def __init__(self, spool: Spool | None = None) -> None:
        self.counters = Counters.anonymous()
        self._spool = spool
        self._directory: ProcessSpool | None = None
        if spool is not None:
            try:
                self._directory = _open(spool)
            except (OSError, SpoolError) as error:
                log.warning("counters are this process's alone", extra={"reason": str(error)})
        if self._directory is not None:
            self._directory.count_with(self.counters)

    def totals(self) -> Totals:
        """Return the sums of the machine's processes, those that have ended included."""
        if self._spool is not None and self._directory is not None:
            # They may have been removed while this process runs.
            with contextlib.suppress(OSError):
                return self._spool.totals()
        return Totals([self.counters.snapshot()])

    def close(self) -> None:
        """Add this process's counts to those of processes that have ended."""
        if self._spool is not None and self._directory is not None:
            with contextlib.suppress(OSError):
                self._spool.retire(self._directory)


def _open(spool: Spool) -> ProcessSpool:
    spool.prepare()
    # Gauges of processes that were killed end here.
    for left in spool.adopt_orphans():
        spool.retire(left)
    return spool.create_process_spool()
