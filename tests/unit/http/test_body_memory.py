"""Memory for bodies that are arriving: bounded, by bytes that are here."""

import io
from typing import Any

import pytest

from app.http.body_memory import BodyMemory, Buffer
from app.http.problems import Unavailable
from app.http.wsgi_body import reading_body


def test_the_largest_body_gives_way() -> None:
    """Not the one that comes last, and not one that is complete."""
    memory = BodyMemory(limit=10)
    complete, large, small = Buffer(memory), Buffer(memory), Buffer(memory)
    complete.append(b"x" * 5)
    assert complete.whole() == b"x" * 5
    large.append(b"x" * 4)
    small.append(b"x" * 2)
    assert (large.dropped, memory.used) == (True, 7)
    for again in (lambda: large.append(b"x"), large.whole):
        with pytest.raises(Unavailable, match="Too many bodies"):
            again()
    assert small.whole() == b"xx"
    complete.release()
    small.release()
    small.release()
    assert memory.used == 0


class Shrinking(io.BytesIO):
    """A body whose reader learns of another that takes all the room."""

    def __init__(self, body: bytes, memory: BodyMemory) -> None:
        super().__init__(body)
        self._memory = memory

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        if not part:
            self._memory.limit = 0
            with pytest.raises(Unavailable):
                Buffer(self._memory).append(b"x")
        return part


@pytest.mark.parametrize(
    "environ", [{"wsgi.input_terminated": True}, {"CONTENT_LENGTH": "9"}], ids=["chunks", "length"]
)
def test_under_wsgi_a_body_that_gave_way_is_a_503(environ: dict[str, Any]) -> None:
    """Even if nothing but its end comes after; then its memory is free."""
    memory = BodyMemory(limit=100)
    body = {**environ, "wsgi.input": Shrinking(b"[{}]", memory)}
    with (
        pytest.raises(Unavailable, match="Too many bodies"),
        reading_body(body, limit=50, memory=memory),
    ):
        pass
    assert memory.used == 0
