"""The key logs of a machine as one process reads them: its own, other processes', and old ones."""

from collections.abc import Iterator
from pathlib import Path

from workers.keys.index import Found, KeyIndex, Place, log_of, offset_of, pack_place
from workers.keys.log import NAME, LogReader
from workers.keys.records import KeyEntry
from workers.spool.disk import Disk


class Logs:
    """For one thread at a time. Methods block on the disk."""

    def __init__(self, directory: Path, *, own: str, disk: Disk) -> None:
        self._directory = directory
        self._own = own
        self._disk = disk
        self._readers: dict[int, LogReader] = {}
        self._names: set[str] = set()
        self._last = 0

    def look(self) -> None:
        """See which logs other processes have, or had."""
        for name in self._disk.names(self._directory):
            found = NAME.fullmatch(name)
            if found and found[1] != self._own and name not in self._names:
                self._add(self._directory / name, grows=True)

    def add_own(self, path: Path) -> int:
        """Take note of a log of this process's; return its number. It is not read here."""
        return self._add(path, grows=False)

    def note(self, number: int, accepted: int) -> None:
        """Take note of an entry that this process has appended."""
        reader = self._readers[number]
        reader.newest = max(reader.newest, accepted)

    def read_on(self) -> Iterator[Found]:
        """Yield each entry that others have appended."""
        for number, reader in self._readers.items():
            if reader.grows:
                for digest, accepted, is_whole, offset in reader.read_on():
                    place = pack_place(accepted=accepted, log=number, offset=offset)
                    yield digest, place, is_whole

    def read(self, place: Place) -> KeyEntry:
        """Return an entry.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        return self.of(place).read(offset_of(place))

    def of(self, place: Place) -> LogReader:
        """Return the log that an entry is in.

        Raises:
            ValueError: it was removed.
        """
        reader = self._readers.get(log_of(place))
        if reader is None:
            raise ValueError("the log is gone")
        return reader

    def homes(self) -> set[str]:
        """Return the names of the processes that the logs are of."""
        return {reader.home for reader in self._readers.values()}

    def tidy(self, index: KeyIndex, *, ended: set[str], written: set[Path | None]) -> None:
        """Remove the logs that have no key any more, and those of memory that has gone.

        They are those of processes that have `ended`, and this one's but for what is `written`.
        """
        oldest = index.oldest
        for number, reader in list(self._readers.items()):
            if reader.home in ended:
                reader.end()
            elif reader.home != self._own or reader.path in written:
                continue
            is_over = index.is_over(reader.newest) or reader.newest < oldest
            if is_over or (not reader.is_durable and reader.home != self._own):
                self._remove(number)

    def remove_own(self) -> None:
        """Remove the logs of this process's memory."""
        for number, reader in list(self._readers.items()):
            if reader.home == self._own and not reader.is_durable:
                self._remove(number)

    def close(self) -> None:
        """Close what is open."""
        for reader in self._readers.values():
            reader.end()

    def _remove(self, number: int) -> None:
        reader = self._readers.pop(number)
        reader.end()
        self._names.discard(reader.path.name)
        self._disk.unlink(reader.path)

    def _add(self, path: Path, *, grows: bool) -> int:
        self._last += 1
        self._readers[self._last] = LogReader(path, disk=self._disk, grows=grows)
        self._names.add(path.name)
        return self._last
