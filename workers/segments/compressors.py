"""Compressors of lines. They join runs that are compressed already without doing it again.

gzip: such a run is deflate blocks that end at a byte and refer to nothing before them. With a
header before the first and a trailer behind the last they are one gzip member, as pigz makes it:
https://www.rfc-editor.org/rfc/rfc1952. zstd: a run is a frame, and frames that follow each other
are one file: https://www.rfc-editor.org/rfc/rfc8878#section-3.

The GIL is released while large runs are compressed.
"""

import struct
from collections.abc import Callable
from typing import Any, Protocol

import zstandard
from isal import isal_zlib

from workers.segments.segment import CompressedRun

# ISA-L's level 1 is about five times as fast as zlib's, at no worse a ratio on JSON lines.
GZIP_LEVEL, ZSTD_LEVEL = 1, 1
_RAW_WBITS = -15
# No flags, no time, an unknown operating system.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_GZIP_TRAILER = struct.Struct("<II")


class Compressor(Protocol):
    """Makes one object's body of runs of lines; counts what went in."""

    size: int
    crc: int

    def add(self, run: bytes | CompressedRun) -> bytes:
        """Take a run; return what has come out."""
        ...

    def flush(self) -> bytes:
        """Return the rest; nothing can be added any more."""
        ...


class _Counting:
    """What went into a compressor so far: bytes of lines, and their CRC-32."""

    def __init__(self) -> None:
        self.size = self.crc = 0

    def _count(self, run: bytes | CompressedRun) -> None:
        if isinstance(run, CompressedRun):
            self.size += run.size
            self.crc = isal_zlib.crc32_combine(self.crc, run.crc, run.size)
        else:
            self.size += len(run)
            self.crc = isal_zlib.crc32(run, self.crc)


class _Plain(_Counting):
    """Leaves the lines as they are."""

    def add(self, run: bytes | CompressedRun) -> bytes:
        self._count(run)
        return decompress_run(run) if isinstance(run, CompressedRun) else run

    def flush(self) -> bytes:
        return b""


class _Gzip(_Counting):
    def __init__(self) -> None:
        super().__init__()
        self._head = _GZIP_HEADER
        self._deflate = _new_deflate()
        self._is_fresh = True

    def add(self, run: bytes | CompressedRun) -> bytes:
        self._count(run)
        head, self._head = self._head, b""
        if not isinstance(run, CompressedRun):
            self._is_fresh = False
            return head + bytes(self._deflate.compress(run))
        if not self._is_fresh:
            # What comes behind the run must not refer to what was before it.
            head += self._deflate.flush(isal_zlib.Z_FULL_FLUSH)
            self._is_fresh = True
        return head + run.data

    def flush(self) -> bytes:
        trailer = _GZIP_TRAILER.pack(self.crc, self.size & 0xFFFFFFFF)
        return b"".join((self._head, self._deflate.flush(), trailer))


class _Zstd(_Counting):
    def __init__(self) -> None:
        super().__init__()
        self._frame: Any = _new_frame()
        self._is_fresh = True
        self._is_empty = True

    def add(self, run: bytes | CompressedRun) -> bytes:
        self._count(run)
        self._is_empty = False
        if not isinstance(run, CompressedRun):
            self._is_fresh = False
            return bytes(self._frame.compress(run))
        return self._end_frame() + run.data

    def flush(self) -> bytes:
        # A frame even if there was nothing.
        return bytes(self._frame.flush()) if self._is_empty else self._end_frame()

    def _end_frame(self) -> bytes:
        if self._is_fresh:
            return b""
        rest = bytes(self._frame.flush())
        self._frame, self._is_fresh = _new_frame(), True
        return rest


_COMPRESSORS: dict[str, Callable[[], Compressor]] = {"gzip": _Gzip, "zstd": _Zstd, "none": _Plain}


def new_compressor(compression: str) -> Compressor:
    """Return a compressor for one object."""
    return _COMPRESSORS[compression]()


def compress_run(lines: bytes, *, compression: str) -> CompressedRun:
    """Compress lines by themselves, by gzip or zstd, as a run that an object can take as it is."""
    if compression == "gzip":
        deflate = _new_deflate()
        data = deflate.compress(lines) + deflate.flush(isal_zlib.Z_SYNC_FLUSH)
    else:
        data = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(lines)
    return CompressedRun(compression, data, len(lines), isal_zlib.crc32(lines))


def decompress_run(run: CompressedRun) -> bytes:
    """Return the lines of a compressed run."""
    if run.compression == "gzip":
        return bytes(isal_zlib.decompressobj(_RAW_WBITS).decompress(run.data))
    return zstandard.ZstdDecompressor().decompress(run.data, max_output_size=run.size)


def _new_deflate() -> Any:
    return isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, _RAW_WBITS)


def _new_frame() -> Any:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
