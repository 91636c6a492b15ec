"""The log's writer: no line is waited for, none is lost that there is room for."""

import contextlib
import logging
import os
from collections.abc import Iterator

import pytest

from app import log_writer
from app.log_writer import LineHandler, LogWriter
from tests.support import wait_until

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe; its ends are closed whatever a test has closed before."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def fill(writable: int) -> int:
    """Write until nothing goes in any more; return how much did."""
    os.set_blocking(writable, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writable, b"." * 4096)
    os.set_blocking(writable, True)
    return filled


def drain(readable: int, size: int) -> bytes:
    """Read so many bytes."""
    found = b""
    while len(found) < size:
        found += os.read(readable, size - len(found))
    return found


def test_without_a_thread_a_line_is_written_or_dropped(pipe: tuple[int, int]) -> None:
    """As in gunicorn's master, which has none: it does not wait either."""
    readable, writable = pipe
    writer = LogWriter(writable)
    dropped: list[int] = []
    writer.on_drop = dropped.append
    writer.write(LINE)
    assert os.read(readable, 4096) == LINE
    filled = fill(writable)
    writer.write(LINE)
    assert (writer.dropped, dropped) == (1, [1])
    drain(readable, filled)
    writer.write(LINE)
    assert os.read(readable, 4096) == LINE


def test_a_reader_that_stands_still_stops_nothing(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fits into the queue is written once it reads on, and the rest is counted in a line."""
    readable, writable = pipe
    writer = LogWriter(writable, max_bytes=10 * len(LINE))
    monkeypatch.setattr(log_writer, "writer", writer)
    handler = LineHandler()
    logging.getLogger(log_writer.__name__).addHandler(handler)
    try:
        filled = fill(writable)
        writer.start()
        for _ in range(15):
            writer.write(LINE)
        assert writer.dropped == 5
        writer.flush(0)
        drain(readable, filled)
        assert drain(readable, 10 * len(LINE)) == 10 * LINE
        assert os.read(readable, 4096) == b"log lines dropped\n"
        writer.flush()
        writer.write(LINE)
        assert os.read(readable, 4096) == LINE
    finally:
        logging.getLogger(log_writer.__name__).removeHandler(handler)
        os.close(readable)
        writer.stop()


def test_a_reader_that_has_gone_is_survived(pipe: tuple[int, int]) -> None:
    """Lines have nowhere to go, and are not waited for."""
    readable, writable = pipe
    os.close(readable)
    writer = LogWriter(writable)
    writer.start()
    writer.write(LINE)
    wait_until(lambda: not writer._bytes, timeout=5, what="the line to be given up")
    writer.flush()
    writer.stop()
