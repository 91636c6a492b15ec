"""Runs that are compressed already: an object takes them as they are, and reads like any other."""

import gzip
import random
import zlib
from collections.abc import Sequence

import pytest
import zstandard
from isal import isal_zlib

from workers.segments.compressors import GZIP_LEVEL, compress_run, decompress_run
from workers.segments.segment import CompressedRun
from workers.upload.compression import CONTENT_ENCODINGS, Packed, pack
from workers.upload.reading import beginning, decompress

KINDS = ["gzip", "zstd"]


def lines(seed: int, count: int) -> bytes:
    """Return lines that compress a little; different ones for each seed."""
    chosen = random.Random(seed)
    return b"".join(b'{"n":%d,"of":"%d"}\n' % (n, chosen.getrandbits(64)) for n in range(count))


def packed(runs: Sequence[bytes | CompressedRun], kind: str, *, memory: int = 1 << 30) -> Packed:
    """Make an object's body."""
    return pack(lambda: runs, compression=kind, memory_bytes=memory)


def read_elsewhere(body: bytes, kind: str) -> bytes:
    """Decompress with other libraries than the service's. gzip: of one member only."""
    if kind == "gzip":
        reader = zlib.decompressobj(31)
        found = reader.decompress(body)
        assert (reader.eof, reader.unused_data) == (True, b"")
        return found
    with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as frames:
        return frames.read()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_any_mixture_of_runs_is_one_object(kind: str, seed: int) -> None:
    """Plain and compressed runs, small and large, in any order: the lines are all there."""
    chosen = random.Random(seed)
    texts = [lines(at, chosen.choice([0, 1, 50, 3000])) for at in range(chosen.randrange(8))]
    runs = [
        compress_run(text, compression=kind) if chosen.random() < 0.6 else text for text in texts
    ]
    whole = b"".join(texts)
    found = packed(runs, kind)
    body = b"".join(found.body.chunks())
    assert read_elsewhere(body, kind) == decompress(body) == whole
    assert (found.size, found.crc) == (len(whole), zlib.crc32(whole))


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_a_run_does_not_refer_to_what_was_before_it(kind: str) -> None:
    """The same lines on both sides of a compressed run: the decompressor looks back too far."""
    same = lines(1, 100)
    body = packed([same, compress_run(lines(2, 100), compression=kind), same], kind).body
    assert read_elsewhere(b"".join(body.chunks()), kind) == same + lines(2, 100) + same


@pytest.mark.parametrize("kind", KINDS)
def test_a_compressed_run_is_not_compressed_again(kind: str) -> None:
    """Its bytes are in the object as they came."""
    run = compress_run(lines(1, 3000), compression=kind)
    body = b"".join(packed([b"{}\n", run, b"[]\n"], kind).body.chunks())
    assert run.data in body
    assert decompress_run(run) == lines(1, 3000)


@pytest.mark.parametrize("kind", KINDS)
def test_a_streamed_object_is_the_same(kind: str) -> None:
    """An object that does not fit into memory is made again from the same runs."""
    runs: list[bytes | CompressedRun] = [
        lines(1, 500),
        compress_run(lines(2, 3000), compression=kind),
        lines(3, 500),
    ]
    kept, streamed = packed(runs, kind).body, packed(runs, kind, memory=100).body
    assert isinstance(kept.open(), bytes)
    assert not isinstance(streamed.open(), bytes)
    assert b"".join(streamed.chunks()) == kept.open()


def test_an_uncompressed_object_has_the_lines() -> None:
    """Where objects are not compressed, what came compressed is read."""
    runs: list[bytes | CompressedRun] = [b"{}\n", compress_run(lines(1, 3000), compression="gzip")]
    assert b"".join(packed(runs, "none").body.chunks()) == b"{}\n" + lines(1, 3000)


def test_lines_alone_make_the_gzip_file_that_the_library_makes() -> None:
    """Objects without compressed runs are, byte for byte, what they were."""
    text = lines(1, 3000)
    alone = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, 31)
    body = b"".join(packed([text], "gzip").body.chunks())
    assert body == alone.compress(text) + alone.flush()
    assert gzip.decompress(body) == text


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_s_beginning_may_be_several_runs(kind: str) -> None:
    """Its first lines are shown whichever run they are in."""
    runs = [compress_run(lines(at, 10), compression=kind) for at in range(3)]
    body = b"".join(packed(runs, kind).body.chunks())
    whole = lines(0, 10) + lines(1, 10) + lines(2, 10)
    assert beginning(body, most=1 << 20) == whole
    assert set(CONTENT_ENCODINGS) == {*KINDS, "none"}
