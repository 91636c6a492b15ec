"""What a power cut leaves of files and directories: any state that a disk may leave.

What it grants, as any disk in use does: a sector that is written again with some of its bytes
unchanged keeps those, and a name is moved in one step.
"""

from collections.abc import Sequence
from random import Random

from tests.chaos.model.files import Directory

SECTOR = 512


class PowerCut:
    """Cuts the power at once. `litter` is what removed files held: new ones may show it."""

    def __init__(self, *, rng: Random, litter: Sequence[bytes]) -> None:
        self._rng = rng
        self._litter = litter

    def cut(self, directory: Directory) -> None:
        """Reduce a directory, and everything in it, to what is left."""
        names = dict(directory.synced)
        # All of it may have been written back, or none, or any part: a journal of metadata keeps
        # the order, POSIX promises none.
        kept = self._rng.choice((0.0, 0.5, 1.0))
        for change in directory.changes:
            if self._rng.random() < kept:
                change(names)
        directory.names = names
        directory.sync()
        for node in names.values():
            if isinstance(node, Directory):
                self.cut(node)
            else:
                node.states, node.lies = [self._content_left(node.states)], False

    def _content_left(self, states: list[bytes]) -> bytes:
        synced = states[0]
        kind = self._rng.random()
        if len(states) == 1 or kind < 0.1:
            return synced
        if kind < 0.35:
            # As it was when the kernel wrote it back; what was undone since is there again.
            return self._rng.choice(states)
        low, *lengths, high = sorted(map(len, states))
        length = self._rng.choice((low, *lengths, high, high, self._rng.randint(low, high)))
        # What no write since the sync has touched is safe.
        sure = _common_start(states)
        start = len(sure) - len(sure) % SECTOR
        # Freshly allocated blocks may still hold what a removed file had there.
        litter = self._rng.choice(self._litter) if self._litter and kind < 0.5 else b""
        sectors = [self._sector(states, at, litter=litter) for at in range(start, length, SECTOR)]
        return sure + b"".join(sectors)[len(sure) - start : length - start]

    def _sector(self, states: list[bytes], at: int, *, litter: bytes) -> bytes:
        """Return what is in one sector after the cut: some state of it, a mix, zeroes, litter."""
        rng, is_fresh = self._rng, at + SECTOR > len(states[0])
        if not is_fresh and len({state[at : at + SECTOR] for state in states}) == 1:
            return states[0][at : at + SECTOR]
        one, other = (rng.choice(states)[at : at + SECTOR].ljust(SECTOR, b"\0") for _ in range(2))
        kind = rng.random()
        if litter and is_fresh and kind < 0.8:
            return litter[at : at + SECTOR].ljust(SECTOR, b"\0")
        if kind < 0.6:
            return one
        if kind < 0.8:
            torn = rng.randrange(SECTOR)
            return one[:torn] + other[torn:]
        return bytes(SECTOR)


def _common_start(states: list[bytes]) -> bytes:
    low, high = min(states), max(states)
    if high.startswith(low):
        return low
    differing = (at for at, byte in enumerate(low) if byte != high[at])
    return low[: next(differing)]
