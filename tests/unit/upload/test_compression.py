"""Compression: other decompressors read the same lines, and the body is the same each time."""

import gzip
import zlib
from collections.abc import Iterable

import pytest
import zstandard

from workers.segments.naming import EXTENSIONS
from workers.upload import compression as compression_module
from workers.upload.compression import CONTENT_ENCODINGS, Packed, unpack

RUNS = [b'{"n":%d}\n' % number for number in range(5000)]
TEXT = b"".join(RUNS)
KINDS = sorted(CONTENT_ENCODINGS)


def pack(runs: Iterable[bytes], *, compression: str, memory_bytes: int = 1 << 30) -> Packed:
    """Pack runs that can be read again."""
    kept = list(runs)
    return compression_module.pack(lambda: kept, compression=compression, memory_bytes=memory_bytes)


def sent(packed: Packed) -> bytes:
    """Return the bytes of an object's body."""
    return b"".join(packed.body.chunks())


def decompressed(body: bytes, kind: str) -> bytes:
    """Decompress with other libraries than the service's."""
    match kind:
        case "gzip":
            return gzip.decompress(body)
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return body


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piece", [1, 1000, 1 << 20])
def test_lines_come_out_as_they_went_in(
    kind: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the runs are joined, the object is whole, and counted."""
    monkeypatch.setattr(compression_module, "PIECE_BYTES", piece)
    packed = pack(iter(RUNS), compression=kind)
    assert decompressed(sent(packed), kind) == TEXT
    assert unpack(sent(packed), compression=CONTENT_ENCODINGS[kind]) == TEXT
    assert (packed.size, packed.crc) == (len(TEXT), zlib.crc32(TEXT))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_lines_make_the_same_body(kind: str) -> None:
    """A second try puts the same bytes, so that a plain PUT of them is right, too."""
    first, second = pack(RUNS, compression=kind), pack(RUNS, compression=kind)
    assert sent(first) == sent(second)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_packed_too(kind: str) -> None:
    """No lines are a valid, empty object."""
    packed = pack([], compression=kind)
    assert unpack(sent(packed), compression=CONTENT_ENCODINGS[kind]) == b""
    assert (packed.size, packed.crc) == (0, 0)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_lines_become_much_less(kind: str) -> None:
    """Compression does compress."""
    assert pack(RUNS, compression=kind).body.length * 3 < len(TEXT)


def test_every_compression_has_its_extension() -> None:
    """Keys tell how their objects are compressed, for those who ignore Content-Encoding."""
    assert set(EXTENSIONS) == set(CONTENT_ENCODINGS)
