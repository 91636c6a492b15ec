"""The key logs: one for each process that uses keys, a new file when one is long enough.

    SPOOL_DIR/keys/<home>-<number>.keys      <home> is the name of the process directory
    SPOOL_DIR/keys/<home>-<number>.memory    the same in memory mode: it ends with its process

    log := frame*, each with the entries of one group (workers/spool/frames.py, mark `BBe1`)

An entry is appended once its payloads are synced, and synced before their file is `.ready`: what is
in a log that a power cut tore, and not before the tear, is in an `.open` file.
"""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from workers.keys import records
from workers.keys.index import ACCEPTED_BITS, NewPlaces, pack_place
from workers.keys.records import KeyEntry
from workers.spool import frames
from workers.spool.disk import Disk

ENTRIES = b"BBe1"
DURABLE, VOLATILE = ".keys", ".memory"
NAME = re.compile(r"([0-9a-f]{32})-(\d+)(\.keys|\.memory)")
LOG_BYTES = 4 << 20
# How much room is made sure of at a time.
RESERVE_BYTES = 1 << 16
# What nearly every entry fits into.
ENTRY_BYTES = 512


class KeyLog:
    """A log that one thread of this process writes; a new file when one is long enough.

    What is prepared can be appended: a full disk refuses before anything is accepted. `numbers`
    gives each file its own. Methods block on the disk.
    """

    def __init__(
        self, directory: Path, home: str, *, disk: Disk, durable: bool, numbers: Iterator[int]
    ) -> None:
        self._directory = directory
        self._home = home
        self._disk = disk
        self._durable = durable
        self._numbers = numbers
        self._file: int | None = None
        self._seed = 0
        self._length = self._synced = self._reserved = 0
        # The kernel takes what it failed to write for written: another sync would say nothing.
        self._sync_failed = False
        # The file that is written, and its number among the logs that are read; 0: none yet.
        self.path: Path | None = None
        self.number = 0

    def prepare(self, entries: bytes) -> bytes:
        """Make a frame of a group's entries, and sure of its room, perhaps in a new file.

        Raises:
            OSError: there is no room.
        """
        if self._file is None or self._length >= LOG_BYTES:
            self._begin()
        end = self._length + frames.PREFIX_BYTES + len(entries)
        if end > self._reserved:
            assert self._file is not None
            end = max(end, self._length + RESERVE_BYTES)
            self._disk.reserve(self._file, self._length, end - self._length)
            self._reserved = end
        return frames.prefix(ENTRIES, entries, self._seed) + entries

    def find(self, entries: Sequence[bytes]) -> NewPlaces:
        """Return where the entries of the frame that was prepared last will be."""
        wholes, parts, read_head = {}, [], records.read_head
        at = pack_place(log=self.number, offset=self._length + frames.PREFIX_BYTES)
        for entry in entries:
            digest, accepted, ranges = read_head(entry)
            place = at + (accepted << ACCEPTED_BITS)
            if ranges:
                parts.append((digest, place))
            else:
                wholes[digest] = place
            at += len(entry)
        return NewPlaces(wholes, parts)

    def append(self, frame: bytes) -> None:
        """Append the frame that was prepared last.

        Raises:
            OSError: it may be there or not; what follows goes to a new file.
        """
        file = self._file
        assert file is not None, "nothing is prepared"
        try:
            self._length += self._disk.write_at(file, (frame,), self._length)
        except OSError:
            self.close()
            raise

    def sync(self) -> None:
        """Make everything appended survive a power cut; nothing to do in memory mode.

        Raises:
            OSError: what was appended since the last sync may be lost, as every later call says.
        """
        if self._sync_failed:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self._durable and self._file is not None and self._synced < self._length:
            self._sync_failed = True
            self._disk.sync(self._file)
            self._sync_failed = False
            self._synced = self._length

    def restart(self) -> None:
        """Go on in a new file: what was not synced is appended again."""
        self.close()
        self._sync_failed = False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._disk.close(self._file)
            self._file = None

    def _begin(self) -> None:
        self.sync()
        self.close()
        suffix = DURABLE if self._durable else VOLATILE
        path = self._directory / f"{self._home}-{next(self._numbers)}{suffix}"
        file = self._disk.create(path)
        try:
            if self._durable:
                self._disk.sync_directory(self._directory)
        except OSError:
            self._disk.close(file)
            raise
        self._file, self.path, self._seed = file, path, frames.seed(path.name)
        self.number = 0
        self._length = self._synced = self._reserved = 0


class LogReader:
    """One key log as it is read, from its beginning and on as it grows. Blocks on the disk.

    `newest` is when the last of its keys was accepted.
    """

    def __init__(self, path: Path, *, disk: Disk, grows: bool) -> None:
        found = NAME.fullmatch(path.name)
        assert found is not None
        self.path = path
        self.home = found[1]
        self.is_durable = found[3] == DURABLE
        self.newest = 0
        self.grows = grows
        self._disk = disk
        self._seed = frames.seed(path.name)
        self._position = 0
        self._file: int | None = None

    def read_on(self) -> Iterator[tuple[bytes, int, bool, int]]:
        """Yield digest, acceptance, wholeness and offset of each entry that is new.

        It ends at what is no frame: the log's end, or one that is being written, or torn.
        """
        data, at = self._new(), 0
        while (body := _body(data, at, self._seed)) is not None:
            at += frames.PREFIX_BYTES
            for digest, accepted, is_whole, offset in records.scan(body):
                self.newest = max(self.newest, accepted)
                yield digest, accepted, is_whole, self._position + at + offset
            at += len(body)
        self._position += at

    def read(self, offset: int) -> KeyEntry:
        """Return the entry at an offset.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        file = self._disk.open_to_read(self.path)
        try:
            data = self._disk.read_at(file, ENTRY_BYTES, offset)
            length = records.LENGTHS_BYTES + sum(records.entry_lengths(data))
            if length > len(data):
                data = self._disk.read_at(file, length, offset)
        finally:
            self._disk.close(file)
        return records.unpack_entry(data[:length])

    def end(self) -> None:
        """Read no further: it does not grow."""
        self.grows = False
        if self._file is not None:
            self._disk.close(self._file)
            self._file = None

    def _new(self) -> bytes:
        try:
            if self._file is None:
                self._file = self._disk.open_to_read(self.path)
            size = self._disk.length(self._file) - self._position
            return self._disk.read_at(self._file, size, self._position) if size > 0 else b""
        except FileNotFoundError:
            # Its time was over, and another process has removed it.
            self.grows = False
            return b""


def _body(data: bytes, at: int, seed: int) -> bytes | None:
    frame = frames.unpack(data, at, seed)
    return None if frame is None or frame.mark != ENTRIES else frame.body
