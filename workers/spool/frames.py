"""The segment file: a header, frames of lines, a seal. Bytes only; opens no file itself.

    frame = mark (4) · length of body (u32) · first line (u32) · back (u32) · crc32 (u32) · body

A frame holds the lines of one request, or of several that were written as one group. So a torn
tail drops whole requests that had no answer, never half of one. The crc is seeded with the
segment's name: zeroes, or blocks of an older file, never pass for ours. The first line's number
keeps receipts right where damage took the lines before it. `back` is how many bytes before the
frame its group began: groups are synced one after the other, so only a frame of a later group
proves that damage is rot, and not a write that a power cut tore.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal

import msgspec
from isal.isal_zlib import crc32

HEADER, LINES, SEAL = b"BBh1", b"BBl1", b"BBs1"
# Lines of one request with an Idempotency-Key, behind its key record.
KEYED = b"BBk1"
_MARKS = frozenset({HEADER, LINES, KEYED, SEAL})
_PREFIX = struct.Struct("<4sIIII")
_CHECKED = struct.Struct("<II")
PREFIX_BYTES = _PREFIX.size
_SEAL = struct.Struct("<QQ")
_RECORD = struct.Struct("<I")
# The same two for a frame with a key record, up to that.
_KEYED_PREFIX = struct.Struct("<4sIIIII")
_KEYED_CHECKED = struct.Struct("<III")
SEAL_BYTES = _PREFIX.size + _SEAL.size
READ_BYTES = 1 << 17
# Bodies of this size and less are joined: larger ones cost more, as malloc maps them one by one.
MAX_JOINED_BYTES = 1 << 16
_MARK = re.compile(b"BB[hkls]1")
# Marks of another version. One that changes more than marks has to change the header's.
_FOREIGN_MARK = re.compile(b"BB[a-z][0-9A-Za-z]")


class Damaged(Exception):
    """The bytes at `offset` in the file are no frame of this segment.

    From there on the file has nothing but zeros (`blank`), or the beginning of a frame and nothing
    but zeros (`short`), or anything (`torn`).
    """

    def __init__(self, offset: int, tail: Literal["blank", "short", "torn"] = "torn") -> None:
        super().__init__(f"no frame at byte {offset}")
        self.offset = offset
        self.tail = tail


class UnknownFormat(Exception):
    """The frame at `offset` was written by a version that this one does not know."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"unknown format at byte {offset}")
        self.offset = offset


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A frame as read: where it ends in the file, what it is, what it holds."""

    end: int
    mark: bytes
    first_line: int
    back: int
    body: bytes

    @property
    def start(self) -> int:
        """Where in the file the frame begins."""
        return self.end - len(self.body) - PREFIX_BYTES

    @property
    def has_lines(self) -> bool:
        """Whether it holds lines of payloads."""
        return self.mark in (LINES, KEYED)

    @property
    def lines(self) -> bytes:
        """Its lines, if it has any."""
        return self.body if self.mark != KEYED else self.body[_RECORD.size + len(self.record) :]

    @property
    def record(self) -> bytes:
        """Its key record; empty where it has none."""
        if self.mark != KEYED or len(self.body) < _RECORD.size:
            return b""
        (size,) = _RECORD.unpack_from(self.body)
        return self.body[_RECORD.size : _RECORD.size + size]

    @property
    def group(self) -> int:
        """Where in the file the frame's group begins."""
        return self.start - self.back


def seed(name: str) -> int:
    """Return the crc's start value for the segment `name`."""
    return crc32(name.encode())


def prefix(mark: bytes, body: bytes, crc_seed: int, *, first_line: int = 0, back: int = 0) -> bytes:
    """Return the 20 bytes that go before `body`, so that the body need not be copied."""
    crc = _crc(body, crc_seed, first_line, back)
    return _PREFIX.pack(mark, len(body), first_line, back, crc)


def keyed_prefix(
    record: bytes, lines: bytes, crc_seed: int, *, first_line: int, back: int
) -> bytes:
    """Return what goes before the lines of a frame with a key record: one crc is over both."""
    size = len(record)
    checked = _KEYED_CHECKED.pack(first_line, back, size) + record
    crc = crc32(lines, crc32(checked, crc_seed))
    length = _RECORD.size + size + len(lines)
    return _KEYED_PREFIX.pack(KEYED, length, first_line, back, crc, size) + record


def unpack(data: bytes, at: int, crc_seed: int) -> Frame | None:
    """Return the frame that begins at a place in `data`, of any mark; None where none is whole."""
    if at + _PREFIX.size > len(data):
        return None
    mark, length, first_line, back, crc = _PREFIX.unpack_from(data, at)
    end = at + _PREFIX.size + length
    body = data[at + _PREFIX.size : end]
    if end > len(data) or crc != _crc(body, crc_seed, first_line, back):
        return None
    return Frame(end, mark, first_line, back, body)


def _crc(body: bytes, crc_seed: int, first_line: int, back: int) -> int:
    return int(crc32(body, crc32(_CHECKED.pack(first_line, back), crc_seed)))


def join(runs: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Join runs into bodies of `MAX_JOINED_BYTES` at most; a larger run stays by itself.

    A run is its first line's number and its lines; each begins where the one before it ends.
    """
    first, size = 0, 0
    parts: list[bytes] = []
    for number, lines in runs:
        if parts and size + len(lines) > MAX_JOINED_BYTES:
            yield first, b"".join(parts)
            parts, size = [], 0
        if not parts:
            first = number
        parts.append(lines)
        size += len(lines)
    if parts:
        yield first, b"".join(parts)


def seal(lines: int, size: int, crc_seed: int) -> bytes:
    """Return the frame that ends a sealed segment: its count of lines and their bytes."""
    body = _SEAL.pack(lines, size)
    return prefix(SEAL, body, crc_seed) + body


def read_seal(tail: bytes, crc_seed: int) -> tuple[int, int]:
    """Read lines and bytes out of a sealed file's last `SEAL_BYTES` bytes.

    Raises:
        Damaged: they are not a seal.
    """
    if len(tail) == SEAL_BYTES:
        mark, length, first, back, crc = _PREFIX.unpack_from(tail)
        body = tail[_PREFIX.size :]
        if mark == SEAL and length == len(body) and crc == _crc(body, crc_seed, first, back):
            lines, size = _SEAL.unpack(body)
            return lines, size
    raise Damaged(0)


def unpack_seal(frame: Frame) -> tuple[int, int]:
    """Return the lines and bytes in a seal that was read as a frame.

    Raises:
        UnknownFormat: it holds something else.
    """
    if len(frame.body) != _SEAL.size:
        raise UnknownFormat(frame.start)
    lines, size = _SEAL.unpack(frame.body)
    return lines, size


def length_of_first(file: BinaryIO) -> int:
    """Return the bytes of a file's first frame, prefix included, as that says; 0: it has none."""
    head = file.read(_PREFIX.size)
    if len(head) < _PREFIX.size or head[:4] not in _MARKS:
        return 0
    return _PREFIX.size + int(_PREFIX.unpack(head)[1])


def content_end(file: BinaryIO) -> int:
    """Return where the zeros begin that a file ends in. Blocks on the disk."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - READ_BYTES)
        file.seek(start)
        if content := file.read(end - start).rstrip(b"\0"):
            return start + len(content)
        end = start
    return 0


def read(file: BinaryIO, crc_seed: int, end: int | None = None) -> Iterator[Frame]:
    """Read frame after frame from where `file` stands, to `end` or its own. Blocks on the disk.

    Raises:
        Damaged: at the first bytes that are no whole frame; `offset` counts from the file's start.
        UnknownFormat: at the first frame that another version wrote.
    """
    at = file.tell()
    if end is None:
        end = file.seek(0, os.SEEK_END)
        file.seek(at)
    while at < end:
        head = file.read(_PREFIX.size)
        if len(head) < _PREFIX.size:
            raise _damage(file, at)
        mark, length, first_line, back, crc = _PREFIX.unpack(head)
        if mark not in _MARKS:
            if _is_foreign(file, at, mark=mark, end=end, crc_seed=crc_seed):
                raise UnknownFormat(at)
            raise _damage(file, at)
        after = at + _PREFIX.size + length
        # The length is not believed before the file is seen to be as long.
        body = file.read(length) if after <= end else b""
        if len(body) < length or crc != _crc(body, crc_seed, first_line, back):
            raise _damage(file, at, frame_end=after)
        at = after
        yield Frame(at, mark, first_line, back, body)


def salvage(file: BinaryIO, crc_seed: int) -> Iterator[Frame | Damaged]:
    """Read every whole frame there is; in the place of bytes that are none, a `Damaged`.

    Damage that something readable follows was not a torn write. Blocks on the disk.

    Raises:
        UnknownFormat: at the first frame that another version wrote.
    """
    at: int | None = 0
    while at is not None:
        file.seek(at)
        try:
            yield from read(file, crc_seed)
            return
        except Damaged as damage:
            yield damage
            at = None
            if damage.tail != "blank":
                at = _next_frame(file, crc_seed, after=damage.offset)


def _damage(file: BinaryIO, at: int, *, frame_end: int = 0) -> Damaged:
    """Say what is from `at` on, where a frame does not end, or ends at `frame_end` and is wrong."""
    end = content_end(file)
    if end <= at:
        return Damaged(at, "blank")
    return Damaged(at, "short" if end < max(frame_end, at + _PREFIX.size) else "torn")


def _is_foreign(file: BinaryIO, at: int, *, mark: bytes, end: int, crc_seed: int) -> bool:
    """Whether a frame with an unknown mark is another version's: behind the first it is checked."""
    if not _FOREIGN_MARK.fullmatch(mark):
        return False
    return not at or _whole_at(file, at, end=end, crc_seed=crc_seed)


def _next_frame(file: BinaryIO, crc_seed: int, *, after: int) -> int | None:
    end = file.seek(0, os.SEEK_END)
    at = after + 1
    while at < end:
        file.seek(at)
        window = file.read(READ_BYTES)
        for found in _MARK.finditer(window):
            if _whole_at(file, at + found.start(), end=end, crc_seed=crc_seed):
                return at + found.start()
        # A mark may lie across the windows' border.
        at += max(1, len(window) - len(LINES) + 1)
    return None


def _whole_at(file: BinaryIO, at: int, *, end: int, crc_seed: int) -> bool:
    file.seek(at)
    head = file.read(_PREFIX.size)
    if len(head) < _PREFIX.size:
        return False
    _, length, first_line, back, crc = _PREFIX.unpack(head)
    # First the length: a client that sends marks must not make us read the rest once for each.
    if at + _PREFIX.size + length > end:
        return False
    return bool(crc == _crc(file.read(length), crc_seed, first_line, back))
