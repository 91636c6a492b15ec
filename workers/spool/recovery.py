"""Makes a dead process's counters agree with the segment files it left."""

from workers.spool.counters import Counters, Field


def reconcile(counters: Counters, *, found: int, numbers: frozenset[int], damaged: bool) -> int:
    """Make a dead process's ledger agree with what its home holds: `found` payloads.

    A frame written but not yet counted was accepted. What is missing was lost with the memory of a
    process in memory mode, or to damage: it is dead, for it never will be stored.

    Returns:
        How many payloads were lost.
    """
    counters.redo(still_there=numbers)
    missing = counters.pending - found
    lost = 0
    if missing < 0:
        counters.add(Field.ACCEPTED, -missing)
    elif missing and counters[Field.DURABLE] and not damaged:
        # Only a power cut takes counters back; an undamaged file goes only once it is stored.
        counters.add(Field.STORED, missing)
    elif missing:
        lost = missing
        counters.add(Field.DEAD, lost)
    # Whatever the process was: all that pends now is in files.
    counters[Field.DURABLE] = 1
    counters.flush()
    return lost
