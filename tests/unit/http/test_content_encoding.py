"""Taking the Content-Encoding off a body: what is accepted, what is refused, and what it costs."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard

from app.http.content_encoding import ACCEPT_ENCODING, ZSTD_SLICE_BYTES, ZSTD_WINDOW_BYTES, inflate
from app.http.problems import Corrupt, Problem, TooLarge, UnsupportedType

MIB = 1 << 20
TEXT = b'{"payloads":[{"a":1}]}' * 50


# A bomb is as small at the level that takes the least time.
LEVEL = 1


def gzipped(data: bytes) -> bytes:
    """Compress as one member."""
    return gzip.compress(data, LEVEL)


def raw_deflate(data: bytes) -> bytes:
    """Compress without the zlib wrapper, as some clients understand `deflate`."""
    compressor = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def zstd(data: bytes, *, window_log: int = 20, checksum: bool = False) -> bytes:
    """Compress as a stream, which does not know its size at the start."""
    parameters = zstandard.ZstdCompressionParameters(
        window_log=window_log, write_checksum=checksum, write_content_size=False
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzipped),
    "x-gzip": ("x-gzip", gzipped),
    "two gzip members": ("gzip", lambda d: gzipped(d[:9]) + gzipped(d[9:])),
    "zlib": ("deflate", lambda d: zlib.compress(d, LEVEL)),
    "raw deflate": ("deflate", raw_deflate),
    "zstd": ("zstd", zstd),
    "zstd with its size": ("zstd", lambda d: zstandard.ZstdCompressor().compress(d)),
    "two zstd frames": ("zstd", lambda d: zstd(d[:9]) + zstd(d[9:])),
    "skippable zstd frame": ("zstd", lambda d: b"\x50\x2a\x4d\x18\x02\x00\x00\x00hi" + zstd(d)),
}
each_encoder = pytest.mark.parametrize(("coding", "encode"), ENCODERS.values(), ids=ENCODERS)


@each_encoder
def test_every_coding_is_undone(coding: str, encode: Callable[[bytes], bytes]) -> None:
    """Each coding decodes to what went in, however its name is written."""
    assert inflate(encode(TEXT), encoding=coding, limit=MIB) == TEXT
    assert inflate(encode(TEXT), encoding=f" {coding.upper()} ", limit=MIB) == TEXT


@pytest.mark.parametrize("coding", ["", "identity", "IDENTITY"])
def test_no_coding_is_the_body_itself(coding: str) -> None:
    """A body without a coding is handed on as it is."""
    assert inflate(TEXT, encoding=coding, limit=len(TEXT)) is TEXT


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "gzip, identity", "gzip,", "*"])
def test_other_codings_are_refused(coding: str) -> None:
    """Unknown and stacked codings are a 415 that names ours (RFC 9110 section 15.5.16)."""
    with pytest.raises(UnsupportedType) as refusal:
        inflate(TEXT, encoding=coding, limit=MIB)
    assert refusal.value.headers == {"Accept-Encoding": ACCEPT_ENCODING}


@each_encoder
def test_the_limit_is_the_last_size_accepted(coding: str, encode: Callable[[bytes], bytes]) -> None:
    """Exactly as many bytes as the limit decode; one more is a 413 that names the limit."""
    assert len(inflate(encode(bytes(MIB)), encoding=coding, limit=MIB)) == MIB
    with pytest.raises(TooLarge, match=f"larger than {MIB} bytes when decoded"):
        inflate(encode(bytes(MIB + 1)), encoding=coding, limit=MIB)


@pytest.mark.parametrize("coding", ["", "identity", "gzip"])
def test_a_body_larger_than_the_limit_is_not_decoded(coding: str) -> None:
    """A body that is itself over the limit is a 413, even if it would decode to nothing."""
    body = gzip.compress(b"{}")
    assert inflate(body, encoding=coding, limit=len(body))
    with pytest.raises(TooLarge, match=f"larger than {len(body) - 1} bytes"):
        inflate(body, encoding=coding, limit=len(body) - 1)


@each_encoder
def test_a_bomb_costs_the_limit(coding: str, encode: Callable[[bytes], bytes]) -> None:
    """64 MiB in a small body allocate not much more than the limit before they are refused."""
    bomb = encode(bytes(64 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflate(bomb, encoding=coding, limit=MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    slice_bytes = ZSTD_SLICE_BYTES // 4 * (128 << 10)
    assert peak < 2 * (MIB + slice_bytes) + MIB


def test_a_declared_size_allocates_nothing() -> None:
    """A zstd frame that claims to hold 2^62 bytes is refused without asking for them."""
    # magic, descriptor (8 byte content size, window follows), window of 1 KiB, size, and no block
    header = b"\x28\xb5\x2f\xfd\xc0\x00" + (1 << 62).to_bytes(8, "little")
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            inflate(header, encoding="zstd", limit=MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB


def test_the_zstd_window_is_bounded() -> None:
    """A window of 8 MiB decodes, a larger one does not (RFC 9659)."""
    data = bytes(9 * MIB)
    fits = zstd(data, window_log=23)
    assert zstandard.get_frame_parameters(fits).window_size == ZSTD_WINDOW_BYTES
    assert inflate(fits, encoding="zstd", limit=9 * MIB) == data
    with pytest.raises(Corrupt):
        inflate(zstd(data, window_log=24), encoding="zstd", limit=9 * MIB)


@each_encoder
def test_what_follows_the_end_is_refused(coding: str, encode: Callable[[bytes], bytes]) -> None:
    """Anything after the encoded body is a 400, not ignored."""
    with pytest.raises(Corrupt):
        inflate(encode(TEXT) + b"and more", encoding=coding, limit=MIB)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:9]) + gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("zstd", zstd(TEXT, checksum=True)),
    ],
    ids=["gzip", "second gzip member", "zlib", "zstd"],
)
def test_a_wrong_checksum_is_refused(coding: str, body: bytes) -> None:
    """A body whose checksum does not match is a 400."""
    for at in range(-4, 0):
        damaged = bytearray(body)
        damaged[at] ^= 1
        with pytest.raises(Corrupt):
            inflate(bytes(damaged), encoding=coding, limit=MIB)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("body", [b"", b"x", TEXT, b"\x00" * 40, b"\xff" * 40])
def test_a_body_in_another_coding_is_refused(coding: str, body: bytes) -> None:
    """A body that is not in the coding it names, or empty, is a 400."""
    with pytest.raises(Corrupt):
        inflate(body, encoding=coding, limit=MIB)


def test_a_zstd_dictionary_is_refused() -> None:
    """A frame that needs a dictionary is a 400."""
    dictionary = zstandard.ZstdCompressionDict(TEXT, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    body = zstandard.ZstdCompressor(dict_data=dictionary).compress(TEXT)
    with pytest.raises(Corrupt):
        inflate(body, encoding="zstd", limit=MIB)


def test_a_preset_zlib_dictionary_is_refused() -> None:
    """The same for zlib, whose header says so."""
    compressor = zlib.compressobj(zdict=b"payloads")
    body = compressor.compress(TEXT) + compressor.flush()
    with pytest.raises(Corrupt):
        inflate(body, encoding="deflate", limit=MIB)


@pytest.mark.parametrize(
    ("coding", "empty"), [("gzip", gzip.compress(b"")), ("zstd", zstd(b""))], ids=["gzip", "zstd"]
)
def test_many_empty_members_decode(coding: str, empty: bytes) -> None:
    """A hundred thousand empty members are nothing, and no reason to choke."""
    body = empty * 100_000
    assert inflate(body, encoding=coding, limit=len(body)) == b""


def test_a_refusal_is_a_problem_with_its_cause() -> None:
    """The library's own error stays attached for the log, and out of the answer."""
    with pytest.raises(Problem) as refusal:
        inflate(b"hello", encoding="gzip", limit=MIB)
    assert refusal.value.detail == "The body is not valid gzip."
    assert refusal.value.__cause__ is not None
