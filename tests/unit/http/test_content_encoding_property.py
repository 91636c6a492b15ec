"""Decompressing against the standard library, on bodies that hypothesis generates."""

import contextlib
import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from app.http.content_encoding import inflate
from app.http.problems import Corrupt, TooLarge


def raw_deflate(data: bytes, level: int) -> bytes:
    """Compress without the zlib wrapper."""
    compressor = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def zstd(data: bytes, level: int) -> bytes:
    """Compress to one frame, with its size or without."""
    return zstandard.ZstdCompressor(level=level, write_content_size=level > 5).compress(data)


each_coding = pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("zstd", zstd),
    ],
    ids=["gzip", "zlib", "raw deflate", "zstd"],
)
contents = st.binary(max_size=300) | st.builds(
    bytes.__mul__, st.binary(max_size=20), st.integers(0, 5000)
)
LIMIT = 1 << 17


@each_coding
@settings(max_examples=60, deadline=None)
@given(data=contents, level=st.integers(1, 9))
def test_what_was_compressed_is_inflated(
    coding: str, compress: Callable[[bytes, int], bytes], data: bytes, level: int
) -> None:
    """Inflating undoes compressing."""
    assert inflate(compress(data, level), encoding=coding, limit=LIMIT) == data


@each_coding
@settings(max_examples=60, deadline=None)
@given(data=contents, level=st.integers(1, 9), cut=st.floats(0, 1, exclude_max=True))
def test_a_body_cut_short_is_never_taken_for_whole(
    coding: str, compress: Callable[[bytes, int], bytes], data: bytes, level: int, cut: float
) -> None:
    """Wherever a compressed body ends too early, it is refused and not read as less."""
    body = compress(data, level)
    with pytest.raises(Corrupt):
        inflate(body[: int(len(body) * cut)], encoding=coding, limit=LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(max_size=60), prefix=st.sampled_from([b"", b"\x1f\x8b\x08", b"\x28\xb5/\xfd"])
)
def test_compressed_noise_is_no_crash(coding: str, body: bytes, prefix: bytes) -> None:
    """Random bytes decode within the limit, or are problems; never another error."""
    with contextlib.suppress(Corrupt, TooLarge):
        assert len(inflate(prefix + body, encoding=coding, limit=100)) <= 100
