"""Makes a dead process's counters agree with the segment files it left."""

from workers.spool.counters import Board, Field


def reconcile(board: Board, *, found: int, numbers: frozenset[int], damaged: bool) -> int:
    """Make a dead process's ledger agree with what its home holds: `found` payloads.

    A frame written but not yet counted was accepted. What is missing was lost with the memory of a
    process in memory mode, or to damage: it is dead, for it never will be stored.

    Returns:
        How many payloads were lost.
    """
    board.redo(still_there=numbers)
    missing = board.pending - found
    lost = 0
    if missing < 0:
        board.add(Field.ACCEPTED, -missing)
    elif missing and board[Field.DURABLE] and not damaged:
        # Only a power cut takes counters back; an undamaged file goes only once it is stored.
        board.add(Field.STORED, missing)
    elif missing:
        lost = missing
        board.add(Field.DEAD, lost)
    # Whatever the process was: all that pends now is in files.
    board[Field.DURABLE] = 1
    board.flush()
    return lost
