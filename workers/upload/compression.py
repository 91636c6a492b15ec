"""Compresses a segment's lines into an object's body, with the GIL released meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import zstandard
from isal import isal_zlib

from workers.segments.compressors import Compressor, new_compressor
from workers.segments.ratios import Estimator
from workers.segments.segment import CompressedRun
from workers.settings.settings import Settings
from workers.stores.store import Store
from workers.upload.body import ObjectBody

# Lines go to the compressor in pieces of about this size: few calls, each of which gives the GIL up
# and waits for it.
PIECE_BYTES = 1 << 19
CONTENT_ENCODINGS = {"gzip": "gzip", "zstd": "zstd", "none": None}
_GZIP_WBITS = 31

# Returns the runs of lines, from the first, at each call.
ReadRuns = Callable[[], Iterable[bytes | CompressedRun]]


@dataclass(frozen=True, slots=True)
class Packed:
    """An object's body, and what went into it: the bytes of its lines and their CRC-32."""

    body: ObjectBody
    size: int
    crc: int


def pack(read: ReadRuns, *, compression: str, memory_bytes: int) -> Packed:
    """Compress runs of lines into one body; the same runs give the same body.

    A body of more than `memory_bytes` is measured and not kept: each send reads the runs again and
    compresses them on the way, so that memory does not grow with the segment. Blocks on the disk if
    `read` does.
    """
    compressor = new_compressor(compression)
    kept: list[bytes] = []
    length = crc = 0
    for data in _compressed(read, compressor):
        length, crc = length + len(data), isal_zlib.crc32(data, crc)
        if length <= memory_bytes:
            kept.append(data)
        else:
            kept.clear()
    body = ObjectBody(
        b"".join(kept) if length <= memory_bytes else None,
        chunks=lambda: _compressed(read, new_compressor(compression)),
        length=length,
        crc32=crc,
    )
    return Packed(body, compressor.size, compressor.crc)


def compressed_size(data: bytes, *, compression: str) -> int:
    """Return how many bytes some lines come to by themselves."""
    compressor = new_compressor(compression)
    return len(compressor.add(data)) + len(compressor.flush())


def unpack(body: bytes, *, compression: str | None) -> bytes:
    """Undo `pack`, given an object's content encoding."""
    if compression == "gzip":
        return bytes(isal_zlib.decompress(body, _GZIP_WBITS))
    if compression == "zstd":
        frames = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        return frames.decompress(body)
    return body


def _compressed(read: ReadRuns, compressor: Compressor) -> Iterator[bytes]:
    for piece in _pieces(read()):
        yield compressor.add(piece)
    yield compressor.flush()


def _pieces(runs: Iterable[bytes | CompressedRun]) -> Iterator[bytes | CompressedRun]:
    """Join short runs, and cut long ones, into pieces of about `PIECE_BYTES`.

    Those that are compressed already stay as they are.
    """
    piece: list[bytes] = []
    size = 0
    for run in runs:
        if isinstance(run, bytes) and len(run) <= PIECE_BYTES:
            piece.append(run)
            size += len(run)
            if size >= PIECE_BYTES:
                yield b"".join(piece)
                piece, size = [], 0
            continue
        if piece:
            yield b"".join(piece)
            piece, size = [], 0
        if isinstance(run, CompressedRun):
            yield run
            continue
        for start in range(0, len(run), PIECE_BYTES):
            yield run[start : start + PIECE_BYTES]
    if piece:
        yield b"".join(piece)


def estimator_for(settings: Settings, store: Store) -> Estimator:
    """Make what estimates objects' sizes, within what the store takes of a segment."""
    return Estimator(
        target=settings.object_target_bytes,
        max_streams=settings.max_streams,
        compresses=settings.compression != "none",
        # A quarter of the budget, so that one segment fills while others are on their way.
        max_size=store.segment_bytes or max(1, store.max_bytes // 4),
        compressed_size=partial(compressed_size, compression=settings.compression),
    )
