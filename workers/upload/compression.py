"""Compresses a segment's lines into an object's body, with the GIL released while it does."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import zstandard
from isal import isal_zlib

# Runs are joined to about this much before each call: few calls, and memory for one piece only.
PIECE_BYTES = 1 << 17
# ISA-L's level 1 is about five times as fast as zlib's, at no worse a ratio on JSON lines.
GZIP_LEVEL, ZSTD_LEVEL = 1, 1
CONTENT_ENCODINGS = {"gzip": "gzip", "zstd": "zstd", "none": None}
_GZIP_WBITS = 31


@dataclass(frozen=True, slots=True)
class Packed:
    """An object's body, and what went into it: bytes and their CRC-32."""

    body: bytes
    size: int
    crc: int


class _Plain:
    """The compressor that does not."""

    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


_COMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WBITS),
    "zstd": lambda: zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj(),
    "none": _Plain,
}


def pack(runs: Iterable[bytes], *, compression: str) -> Packed:
    """Compress runs of lines into one body; the same lines give the same body."""
    compressor = _COMPRESSORS[compression]()
    parts: list[bytes] = []
    size = crc = 0
    for piece in _pieces(iter(runs)):
        parts.append(compressor.compress(piece))
        size += len(piece)
        crc = isal_zlib.crc32(piece, crc)
    parts.append(compressor.flush())
    return Packed(b"".join(parts), size, crc)


def unpack(body: bytes, *, compression: str | None) -> bytes:
    """Undo `pack`, given an object's content encoding."""
    if compression == "gzip":
        return bytes(isal_zlib.decompress(body, _GZIP_WBITS))
    if compression == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return body


def _pieces(runs: Iterator[bytes]) -> Iterator[bytes]:
    piece: list[bytes] = []
    size = 0
    for run in runs:
        piece.append(run)
        size += len(run)
        if size >= PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    yield b"".join(piece)
