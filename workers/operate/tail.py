"""Follows what is accepted for a stream, in the segment files of all processes of a spool.

Only reads. A follower that is slower than the flow skips payloads and counts them; it holds files
open that may be removed meanwhile, and lets them go when it skips. A line is shown once it is
written, a moment before the sync that its answer waits for.
"""

import io
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from workers.figures.published import read_processes
from workers.segments.naming import NAME, created_microseconds
from workers.spool import frames
from workers.spool.segment_file import OPEN, READY
from workers.spool.spool import Spool
from workers.spool.survey import decode_header

READ_BYTES, MAX_BEHIND_BYTES = 1 << 20, 8 << 20
# Segments that are followed at one time; each is an open file.
MAX_FILES = 512
MAX_COUNTED = 50_000


@dataclass(slots=True)
class _File:
    """A segment that is followed: where it is read on, and which line is next if that is known."""

    name: str
    file: int
    seed: int
    offset: int = 0
    expected: int | None = 1


class Follower:
    """`step` returns what is new since the last one. For one thread; blocks on the disk only."""

    def __init__(self, spool: Spool, pattern: str) -> None:
        self._spool = spool
        self._pattern = pattern
        self._files: dict[str, _File] = {}
        # Segments that are not looked at again while they are there.
        self._done: set[str] = set()
        # Segments that are accounted for; of those that were left, how many lines were shown.
        self._counted: dict[str, int | None] = {}
        self._skipped = 0
        self._since = time.time() * 1e6
        found = self._listed()
        for name, path in found.items():
            if path.suffix == OPEN:
                self._open(name, path, at_end=True)
            self._done.add(name)

    def step(self) -> Iterator[bytes]:
        """Yield runs of lines that were written since the last step."""
        found = self._listed()
        for name in sorted(found.keys() - self._done):
            if len(self._files) < MAX_FILES:
                self._open(name, found[name], at_end=False)
                self._done.add(name)
        for each in list(self._files.values()):
            yield from self._read(each)
            if each.name not in found:
                self._close(each)
        self._done &= found.keys()

    def skip(self) -> None:
        """Give up what was not shown yet: its reader is too slow. Lets removed files go."""
        for each in list(self._files.values()):
            if os.fstat(each.file).st_nlink == 0:
                self._counted[each.name] = each.expected and each.expected - 1
                self._close(each)
            else:
                _walk(each, os.fstat(each.file).st_size)

    def skipped(self) -> int:
        """Return how many payloads were skipped since the last call, as far as that is known."""
        self._count_unseen()
        skipped, self._skipped = self._skipped, 0
        return skipped

    def close(self) -> None:
        """Close all files."""
        for each in list(self._files.values()):
            self._close(each)

    def _listed(self) -> dict[str, Path]:
        return {
            Path(name).stem: directory / name
            for directory in self._spool.process_paths()
            for name in self._spool.disk.names(directory)
            if name.endswith((OPEN, READY)) and NAME.fullmatch(Path(name).stem)
        }

    def _open(self, name: str, path: Path, *, at_end: bool) -> None:
        for each in (path, path.with_suffix(READY)):
            try:
                file = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            followed = _File(name, file, frames.seed(name))
            if not self._is_wanted(followed):
                os.close(file)
                return
            if at_end:
                _walk(followed, os.fstat(file).st_size)
                followed.expected = None
            self._files[name] = followed
            self._counted[name] = None
            return

    def _is_wanted(self, each: _File) -> bool:
        """Read the header: whether the segment is of a stream that is followed."""
        try:
            for frame in _frames(os.pread(each.file, READ_BYTES, 0), each.seed):
                each.offset = frame.end
                return fnmatchcase(decode_header(frame).stream, self._pattern)
        except frames.UnknownFormat:
            pass
        return False

    def _read(self, each: _File) -> Iterator[bytes]:
        size = os.fstat(each.file).st_size
        if size - each.offset > MAX_BEHIND_BYTES:
            _walk(each, size)
        while each.offset < size:
            content = os.pread(each.file, READ_BYTES, each.offset)
            length = _length(content)
            if length > len(content):
                content = os.pread(each.file, length, each.offset)
            start = each.offset
            try:
                for frame in _frames(content, each.seed):
                    each.offset = start + frame.end
                    yield from self._shown(each, frame)
            except frames.UnknownFormat:
                self._close(each)
                return
            if each.offset == start or each.name not in self._files:
                # The last frame is still being written, or was the seal.
                return

    def _shown(self, each: _File, frame: frames.Frame) -> Iterator[bytes]:
        if frame.mark == frames.SEAL:
            lines, _ = frames.unpack_seal(frame)
            self._skipped += max(0, lines + 1 - (each.expected or lines + 1))
            self._close(each)
        elif frame.mark == frames.LINES:
            self._skipped += max(0, frame.first_line - (each.expected or frame.first_line))
            each.expected = frame.first_line + frame.body.count(b"\n")
            yield frame.body

    def _close(self, each: _File) -> None:
        if self._files.pop(each.name, None) is not None:
            os.close(each.file)

    def _count_unseen(self) -> None:
        """Count what was stored before it was seen: its file came and went between two steps."""
        for process in read_processes(self._spool.root):
            for stored in reversed(process.objects):
                is_new = created_microseconds(stored.segment) >= self._since
                shown = self._counted.get(stored.segment, 0) if is_new else None
                if shown is not None and fnmatchcase(stored.stream, self._pattern):
                    self._skipped += stored.payloads - shown
                self._counted[stored.segment] = None
        while len(self._counted) > MAX_COUNTED:
            del self._counted[next(iter(self._counted))]


def _frames(content: bytes, seed: int) -> Iterator[frames.Frame]:
    """Yield the whole frames at the beginning of some bytes."""
    try:
        yield from frames.read(io.BytesIO(content), seed)
    except frames.Damaged:
        return


def _length(content: bytes) -> int:
    return frames.length_of_first(io.BytesIO(content))


def _walk(each: _File, size: int) -> None:
    """Go to the last whole frame's end, from one frame's length to the next."""
    while each.offset < size:
        content = os.pread(each.file, READ_BYTES, each.offset)
        at = 0
        while (length := _length(content[at : at + frames.PREFIX_BYTES])) and (
            each.offset + at + length <= size
        ):
            at += length
            if at >= len(content):
                break
        if not at:
            return
        each.offset += at
