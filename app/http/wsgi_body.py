"""Reads a request's body out of a WSGI server: every byte it announced, and none past the limit.

werkzeug's own reader takes the end of a cut connection, or the limit itself, for the body's end
where the server ends its input by itself, as gunicorn does. Knows no Flask.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from werkzeug.sansio.utils import get_content_length

from app.http.body_memory import BodyMemory, Buffer
from app.http.problems import broken_chunks, incomplete, too_large

READ_BYTES = 1 << 16
# A client that sends before it reads would see a reset, not a 413: a body up to this many times too
# large is read to its end, and thrown away.
MAX_DISCARD_FACTOR = 8


def content_length(environ: Mapping[str, Any]) -> int | None:
    """Return the announced length of the body; None if it is chunked or there is no length."""
    return get_content_length(environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING"))


@contextlib.contextmanager
def reading_body(
    environ: Mapping[str, Any],
    *,
    limit: int,
    memory: BodyMemory,
    arrived: Callable[[int], None] = lambda _: None,
) -> Iterator[bytes]:
    """Read the whole body; blocks on the client. Its bytes count until the end of the context.

    `arrived` is called once, with the number of bytes that were read, however it ends.

    Raises:
        TooLarge: it is larger than `limit` bytes.
        BadRequest: its chunks are none.
        Unavailable: it had to give way to others.
        Problem: 408, it did not arrive whole.
    """
    length = content_length(environ)
    buffer = Buffer(memory)
    received = 0
    try:
        try:
            for part in _wanted_parts(environ, length, limit):
                received += len(part)
                if length is None or length <= limit:
                    buffer.append(part)
        finally:
            arrived(received)
        whole = buffer.whole()
        if max(received, length or 0) > limit:
            raise too_large(limit)
        if length is not None and received < length:
            raise incomplete()
        yield whole
    finally:
        buffer.release()


def _wanted_parts(environ: Mapping[str, Any], length: int | None, limit: int) -> Iterator[bytes]:
    """Yield as much of a body as is worth reading: of one that is too large all, or nothing."""
    if length is None:
        return _parts(environ, limit + 1 if environ.get("wsgi.input_terminated") else 0)
    if length > limit and (length > limit * MAX_DISCARD_FACTOR or "HTTP_EXPECT" in environ):
        return iter(())
    return _parts(environ, length)


def _parts(environ: Mapping[str, Any], wanted: int) -> Iterator[bytes]:
    """Yield the body as it comes, `wanted` bytes at most."""
    stream = environ["wsgi.input"]
    try:
        while wanted and (part := stream.read(min(wanted, READ_BYTES))):
            yield part
            wanted -= len(part)
    except OSError as error:
        raise incomplete() from error
    except Exception as error:
        # Each server has errors of its own for chunks that are none.
        raise broken_chunks() from error
