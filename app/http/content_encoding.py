"""Takes the Content-Encoding off a body, with a cap that holds while decoding. Bytes in, bytes out.

Knows neither JSON nor Flask. Decoding stops once the limit is passed: a bomb costs no more than it.
"""

import contextlib
import io
import threading
import zlib
from collections.abc import Callable
from typing import Final

import zstandard
from isal import isal_zlib
from isal.igzip import IGzipFile

from app.http.problems import Corrupt, TooLarge, UnsupportedType

ACCEPT_ENCODING: Final = "gzip, deflate, zstd"
# RFC 9659 section 3: as a content coding, zstd must not need a window of more than 8 MB
ZSTD_WINDOW_BYTES: Final = 8 << 20
# zstandard cannot cap its output, but 4 bytes (an RLE block, RFC 8878 section 3.1.1.2.2) never
# become more than 128 KiB: a slice of 256 bytes overshoots the limit by at most 8 MiB
ZSTD_SLICE_BYTES: Final = 256
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
# isal's stub has its error as an instance
_IsalError: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]
_DAMAGE = (_IsalError, zlib.error, zstandard.ZstdError, EOFError, OSError)


def inflate(body: bytes, *, encoding: str, limit: int) -> bytes:
    """Decode `body` from its Content-Encoding (RFC 9110 section 8.4.1); "" means none. No blocking.

    Raises:
        UnsupportedType: the coding is unknown, or there are several.
        TooLarge: the body, as sent or decoded, is larger than `limit` bytes.
        Corrupt: the body is cut short, damaged, or followed by something else.
    """
    coding = encoding.strip().lower()
    if len(body) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes.")
    if coding in ("", "identity"):
        return body
    decode = _CODINGS.get(coding)
    if decode is None:
        raise UnsupportedType(
            f"The Content-Encoding is none of: {ACCEPT_ENCODING}.",
            headers={"Accept-Encoding": ACCEPT_ENCODING},
        )
    try:
        data = decode(body, limit)
    except _DAMAGE as error:
        raise Corrupt(f"The body is not valid {coding}.") from error
    if len(data) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes when decoded.")
    return data


# Each decoder below gives up as soon as it holds more than `limit` bytes, and returns them.


def _one_stream(body: bytes, *, wbits: int, limit: int) -> tuple[bytes, bytes]:
    """Decode one deflate stream; also return what follows it."""
    stream = isal_zlib.decompressobj(wbits=wbits)
    data = stream.decompress(body, limit + 1)
    if not stream.eof and len(data) <= limit:
        raise EOFError
    return data, stream.unused_data


def _gunzip(body: bytes, limit: int) -> bytes:
    data, rest = _one_stream(body, wbits=_GZIP, limit=limit)
    if not rest:
        return data
    # Several members (RFC 1952 section 2.2). IGzipFile costs ten times as much to set up, but walks
    # a million tiny members without copying the remainder a million times.
    with IGzipFile(fileobj=io.BytesIO(body)) as file:  # type: ignore[no-untyped-call]
        return file.read(limit + 1)


def _undeflate(body: bytes, limit: int) -> bytes:
    """Decode zlib, as RFC 9110 section 8.4.1.2 says, or bare deflate, as many clients send it."""
    wbits = _ZLIB if _has_zlib_header(body) else _RAW
    data, rest = _one_stream(body, wbits=wbits, limit=limit)
    if rest:
        raise EOFError
    return data


def _has_zlib_header(body: bytes) -> bool:
    """Tell zlib from bare deflate by RFC 1950 section 2.2: method 8, header a multiple of 31.

    No encoder begins bare deflate so: it would be a stored block with non-zero padding.
    """
    return len(body) > 1 and body[0] & 0x8F == 8 and int.from_bytes(body[:2], "big") % 31 == 0


class _Zstd(threading.local):
    """A decompressor for each thread: it may not be shared, and making one costs 25 us."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)


_zstd = _Zstd()


def _unzstd(body: bytes, limit: int) -> bytes:
    frame = zstandard.get_frame_parameters(body)
    if 0 < frame.content_size <= limit and frame.window_size <= ZSTD_WINDOW_BYTES:
        # One frame that says how large it is needs no slices. What is wrong with it, and more
        # frames behind it, the slices below find out.
        with contextlib.suppress(zstandard.ZstdError):
            return _zstd.decompressor.decompress(body, allow_extra_data=False)
    return _unzstd_slices(body, limit)


def _unzstd_slices(body: bytes, limit: int) -> bytes:
    decompressor = _zstd.decompressor
    frame = decompressor.decompressobj()
    data = bytearray()
    for start in range(0, len(body), ZSTD_SLICE_BYTES):
        rest = body[start : start + ZSTD_SLICE_BYTES]
        while rest:
            if frame.eof:
                frame = decompressor.decompressobj()
            data += frame.decompress(rest)
            if len(data) > limit:
                return bytes(data)
            rest = frame.unused_data
    if not frame.eof:
        raise EOFError
    return bytes(data)


_CODINGS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _undeflate,
    "zstd": _unzstd,
}
