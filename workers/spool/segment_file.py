"""A segment's file in the spool, from its first frame to its seal, and back after a crash.

`<name>.open` may still grow, zeros are behind its frames, and its tail may be torn; what is in
`<name>.ready` is what its object will be. Knows the disk and the frames, no thread, no S3.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from workers.segments.segment import Body, Header
from workers.spool import frames
from workers.spool.disk import Buffer, Disk
from workers.spool.room import AHEAD_BYTES, Room
from workers.spool.survey import Survey, decode_header, empty_lines, held_bytes, survey

OPEN, READY = ".open", ".ready"
Records: TypeAlias = Mapping[int, bytes]
NO_RECORDS: Records = {}
ZEROS = memoryview(bytes(AHEAD_BYTES))


class SegmentFile(Body):
    """The file of one segment. All methods block on the disk and may raise `OSError`."""

    def __init__(self, path: Path, *, disk: Disk, room: Room | None = None) -> None:
        self.path = path
        self._disk = disk
        self._room = room or Room(path.parent, disk=disk)
        self._seed = frames.seed(path.stem)
        self._file: int | None = None
        # Until the file's name is synced.
        self._directory: int | None = None
        # Where the frames end, those that are synced, and the zeros behind them.
        self._length = self._durable = self._extent = 0
        self._frozen = False
        # How many lines it was frozen with, where that is known: `read` checks it.
        self._sealed_lines: int | None = None
        # How many bytes of lines it was frozen with, if this object wrote all of them.
        self._own_size: int | None = None

    def append(
        self, header: Header, runs: list[tuple[int, bytes]], records: Records = NO_RECORDS
    ) -> None:
        """Write a frame per run of lines, given with its first line; safe only after `sync`.

        `records` are key records of runs, by their first lines.
        """
        size, seed = sum(len(lines) for _, lines in runs), self._seed
        buffers: list[Buffer] = []
        back = 0
        if self._file is None:
            head = msgspec.json.encode(header)
            buffers += frames.prefix(frames.HEADER, head, self._seed), head
            back = frames.PREFIX_BYTES + len(head)
        for first, lines in runs:
            make = frames.keyed_prefix if first in records else frames.prefix
            head = make(records.get(first, frames.LINES), lines, seed, first_line=first, back=back)
            buffers += head, lines
            back += len(head) + len(lines)
        end = self._length + back
        if end > self._extent:
            self._room.take(size, new_file=self._file is None)
            ahead = self._room.take_ahead(size, end)
            buffers.append(ZEROS[:ahead])
            self._extent = end + ahead
        if self._file is None:
            self._file = self._disk.create(self.path)
            # Opened here, where a failure only refuses; a failed sync ends acceptance.
            self._directory = self._disk.open_directory(self.path.parent)
        self._disk.write_at(self._file, buffers, self._length)
        self._length = end

    def sync(self) -> None:
        """Make everything appended survive a power cut, the file's name included."""
        if self._file is not None:
            self._disk.sync(self._file)
            if self._directory is not None:
                self._disk.sync_names(self._directory)
            self.synced()

    def synced(self) -> None:
        """Take note that all that was appended is synced, and the file's name."""
        self._durable = self._length
        self._close_directory()

    def roll_back(self) -> None:
        """Undo what was appended since the last `sync`, for good; a file with nothing synced goes.

        Synced before anybody is refused, or a power cut could bring back what was.
        """
        if self._file is None:
            return
        size = self._disk.length(self._file) - self._durable
        # Nothing was written to a file system that is read-only now, and nothing can be undone.
        if self._disk.read_at(self._file, size, self._durable).rstrip(b"\0"):
            self._disk.truncate(self._file, self._durable)
            self._disk.sync(self._file)
        self._length = self._extent = self._durable
        if self._durable == 0:
            with contextlib.suppress(OSError):
                self.discard()

    def cut_back(self) -> None:
        """After a failed sync: undo what can be undone, and promise nothing."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._disk.truncate(self._file, self._durable)

    def seal(self, *, lines: int, size: int) -> None:
        """Freeze the file and call it ready; `lines` and `size` are what it holds.

        The sync is needed even though every answered frame is synced already: a roll-back may not
        be, and an object must never hold less, or more, than its file does after a power cut.
        A disk too full for the seal itself goes without: uploading is what frees it again. Where it
        cannot be cut or renamed it stays as it is until `make_ready`.
        """
        if self._file is None:
            return
        self._own_size = size
        self._seal(lines, size)

    def _seal(self, lines: int, size: int) -> None:
        assert self._file is not None
        seal = frames.seal(lines, size, self._seed)
        with contextlib.suppress(OSError):
            self._length += self._disk.write_at(self._file, [seal], self._length)
        self._sealed_lines = lines
        with contextlib.suppress(OSError):
            self._disk.truncate(self._file, self._length)
        self._disk.sync(self._file)
        with contextlib.suppress(OSError):
            self._freeze()

    def make_ready(self) -> bool:
        """Cut a frozen file to its end and rename it, unless that is done. False: it is not frozen.

        Raises:
            OSError: that is not possible now.
        """
        if self._frozen and self.path.suffix == OPEN:
            if self._disk.size(self.path) != self._length:
                self._disk.cut(self.path, self._length)
            ready = self.path.with_suffix(READY)
            self._disk.rename(self.path, ready)
            self.path = ready
        return self.path.suffix == READY

    def read(self) -> Iterator[bytes]:
        """Yield every frame's lines.

        That none is missing is seen by the bytes of all frames where this object wrote them, and
        by the numbers of their lines where another process did: to count lines (bytes.count on
        CPython 3.11) costs as much as a tenth of a whole request.

        Raises:
            frames.Damaged: the file is not what was written, or lines of it are missing.
            frames.UnknownFormat: another version wrote a part of it.
        """
        own, sealed = self._own_size, self._sealed_lines
        expected, size = 1, 0
        with self._disk.open(self.path) as file:
            for frame in frames.read(file, self._seed, self._length or None):
                if frame.has_lines:
                    lines = frame.lines
                    if own is None:
                        if frame.first_line != expected:
                            raise frames.Damaged(frame.start)
                        expected += lines.count(b"\n")
                    size += len(lines)
                    yield lines
            whole = size == own if own is not None else sealed in (None, expected - 1)
            if not whole:
                raise frames.Damaged(file.tell())

    def read_damaged(self, lines: int, lost: list[tuple[int, int]]) -> Iterator[bytes]:
        """Yield what can still be read of `lines` lines, with empty lines where it cannot.

        So every line keeps its number. `lost` is filled with the first and last of those that are
        empty.
        """
        expected = 1
        with self._disk.open(self.path) as file:
            for frame in frames.salvage(file, self._seed):
                if isinstance(frame, frames.Frame) and frame.has_lines:
                    yield from empty_lines(expected, frame.first_line, lost)
                    yield frame.lines
                    expected = frame.first_line + frame.lines.count(b"\n")
        yield from empty_lines(expected, lines + 1, lost)

    def discard(self) -> None:
        """Remove the file. No sync: a removal undone by a power cut is uploaded to the same key."""
        self._close()
        self._disk.unlink(self.path)

    def read_seal(self) -> tuple[int, int] | None:
        """Return lines and bytes as the seal says, or None where there is no seal."""
        with self._disk.open(self.path) as file:
            file.seek(max(0, self._disk.size(self.path) - frames.SEAL_BYTES))
            try:
                lines, size = frames.read_seal(file.read(), self._seed)
            except frames.Damaged:
                return None
        self._sealed_lines = lines
        return lines, size

    def read_header(self) -> Header | None:
        """Return what the segment was created with, or None where that cannot be read.

        Raises:
            frames.UnknownFormat: another version wrote it.
        """
        with self._disk.open(self.path) as file:
            try:
                first = next(frames.read(file, self._seed), None)
            except frames.Damaged:
                return None
        return decode_header(first) if first and first.mark == frames.HEADER else None

    def held_bytes(self, size: int) -> int:
        """Return what the file takes of the byte budget, with `size` bytes of lines."""
        with self._disk.open(self.path) as file:
            return held_bytes(file, length=self._disk.size(self.path), size=size)

    def inspect(self) -> Survey:
        """Say what is in the file; of one that is frozen and has its seal only that is read.

        Raises:
            frames.UnknownFormat: another version wrote it.
        """
        if self.path.suffix == READY and self.read_header() and (seal := self.read_seal()):
            lines, size = seal
            end = self._disk.size(self.path)
            return Survey(lines=lines, size=size, end=end, sealed=True)
        return self.survey()

    def survey(self) -> Survey:
        """Read the whole file and say what is in it.

        Damage at the end of an open file may be a write that a power cut tore and that was never
        answered for, even where some of its later bytes reached the disk: nothing from there on
        counts, and `tail` says so. A frozen file was synced to its end: there it is damage.

        Raises:
            frames.UnknownFormat: another version wrote it.
        """
        with self._disk.open(self.path) as file:
            return survey(file, self._seed, frozen=self.path.suffix == READY)

    def recover(
        self, found: Survey | None = None, *, before_ready: Callable[[], None] = lambda: None
    ) -> Survey:
        """Freeze the file of a dead process; `found` is what `survey` says, perhaps corrected.

        `before_ready` is called once its lines are final and synced, while it is still `.open`.
        A torn tail is cut off, as no part of it was answered for. A file with nothing else in it
        is removed. One that is damaged keeps every byte, so that it can be looked at.
        """
        found = found or self.survey()
        if not found.lines and not found.damaged:
            self._disk.unlink(self.path)
        elif self.path.suffix == OPEN:
            self._file = self._disk.reopen(self.path)
            try:
                self._freeze_found(found, before_ready)
            except OSError:
                self._close()
                raise
        return found

    def _freeze_found(self, found: Survey, before_ready: Callable[[], None]) -> None:
        assert self._file is not None
        self._length = self._disk.length(self._file) if found.damaged else found.end
        self._disk.truncate(self._file, self._length)
        self._disk.sync(self._file)
        before_ready()
        if found.damaged or found.sealed:
            self._freeze()
        else:
            self._seal(found.lines, found.size)

    def _freeze(self) -> None:
        self._close()
        self._frozen = True
        self.make_ready()

    def _close(self) -> None:
        self._close_directory()
        if self._file is not None:
            self._disk.close(self._file)
            self._file = None

    def _close_directory(self) -> None:
        if self._directory is not None:
            self._disk.close(self._directory)
            self._directory = None
