"""Objects as they come back: decompressed by what their bytes are.

Not by what headers say: stores and proxies drop `Content-Encoding`, add to it, or decompress on the
way and leave it. No line of ours begins as a compressed body does, so the first bytes decide.
"""

import io
from collections.abc import Iterable, Iterator
from typing import Any

import zstandard
from isal import igzip, isal_zlib

from workers.errors import BucketBrigadeError

PIECE_BYTES = 1 << 17
# isal's types are not complete.
_BROKEN: Any = (OSError, EOFError, isal_zlib.error, zstandard.ZstdError)
_gzip_file: Any = igzip.IGzipFile
_inflate: Any = isal_zlib.decompressobj
# RFC 1952, section 2.3.1; RFC 8878, section 3.1.1
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class UnreadableObject(BucketBrigadeError):
    """An object's bytes are cut short or damaged: they do not decompress."""


class _Reader(io.RawIOBase):
    """Chunks as a file. Reading raises what making the chunks raises."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = filter(None, chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, unless the chunks end before."""
        filled = 0
        while filled < len(buffer):
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            size = min(len(buffer) - filled, len(self._rest))
            buffer[filled : filled + size] = self._rest[:size]
            self._rest, filled = self._rest[size:], filled + size
        return filled


def decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield an object's lines in pieces of at most `PIECE_BYTES`, from its stored bytes.

    Raises:
        UnreadableObject: see there. The pieces before it have been yielded.
    """
    file = io.BufferedReader(_Reader(chunks), PIECE_BYTES)
    head = file.peek(4)[:4]
    reader: Any = file
    if head.startswith(_GZIP):
        reader = _gzip_file(fileobj=file)
    elif head == _ZSTD:
        decompressor = zstandard.ZstdDecompressor()
        reader = decompressor.stream_reader(file, read_across_frames=True)
    try:
        while piece := reader.read(PIECE_BYTES):
            yield bytes(piece)
    except _BROKEN as error:
        raise UnreadableObject(str(error)) from error


def decompress(body: bytes) -> bytes:
    """Return an object's lines.

    Raises:
        UnreadableObject: see there.
    """
    return b"".join(decompressed([body]))


def beginning(body: bytes, *, most: int) -> bytes:
    """Return the first lines of an object, up to `most` bytes, from its first stored bytes.

    Raises:
        UnreadableObject: see there.
    """
    try:
        if body.startswith(_GZIP):
            return bytes(_inflate(31).decompress(body, most))
        if body.startswith(_ZSTD):
            frames = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
            return bytes(frames.read(most))
    except _BROKEN as error:
        raise UnreadableObject(str(error)) from error
    return body[:most]


def measure(chunks: Iterable[bytes]) -> tuple[int, int]:
    """Return the size of an object's lines in bytes, and their CRC-32.

    Raises:
        UnreadableObject: see there.
    """
    size = crc = 0
    for piece in decompressed(chunks):
        size, crc = size + len(piece), isal_zlib.crc32(piece, crc)
    return size, crc
