"""Bodies as they arrive: whole, late, cut, in chunks, too large, or too many."""

import pytest

from tests.unit.servers.conftest import MAX_BODY, MAX_WAIT, Served
from tests.unit.servers.engine import Request

JSON = {"content_type": "application/json"}


def begin(served: Served, **headers: str) -> Request:
    """Begin with a POST of payloads."""
    request = Request(**{**JSON, **headers})
    served.router.request(request)
    return request


def detail(request: Request) -> str:
    """Return the body of a request's one answer."""
    [answer] = request.answers
    return answer.body.decode()


def test_a_body_in_parts_is_whole(served: Served) -> None:
    """It counts what has arrived, and nothing once it has been read."""
    request = begin(served, content_length="4")
    for size, part in enumerate((b"[", b"{", b"}", b"]")):
        assert request.answers == []
        assert served.memory.used == size
        request.coming.arrive(part)
    assert request.statuses == [202]
    assert served.memory.used == 0


@pytest.mark.parametrize("length", ["0", None])
def test_no_body_is_an_empty_one(served: Served, length: str | None) -> None:
    """It is refused as JSON, and the engine is not asked for it."""
    headers = {} if length is None else {"content_length": length}
    request = begin(served, **headers)
    assert request.statuses == [400]
    assert request.asked == 0


def test_an_absurd_length_is_read(served: Served) -> None:
    """Leading zeros say nothing, however many there are."""
    request = begin(served, content_length="0" * 5000 + "4")
    request.coming.arrive(b"[{}]")
    assert request.statuses == [202]


def test_chunks_end_where_nothing_is_left_to_ask_for(served: Served) -> None:
    """An empty part alone may be the end or a break."""
    request = begin(served, transfer_encoding="chunked")
    request.coming.arrive(b"[{}")
    request.coming.arrive(b"]")
    request.coming.arrive(b"")
    assert request.answers == []
    request.coming.fail(StopAsyncIteration())
    assert request.statuses == [202]


def test_chunks_that_break_off_are_a_400(served: Served) -> None:
    """However much like a whole body they look."""
    request = begin(served, transfer_encoding="chunked")
    request.coming.arrive(b"[{}]")
    request.coming.arrive(b"")
    request.coming.arrive(b"")
    assert "chunks are broken" in detail(request)
    assert served.pipeline.process_spool.unfinished() == []
    assert served.memory.used == 0


def test_a_body_that_ends_too_soon_is_a_408(served: Served) -> None:
    """Where the client leaves in the middle nothing is kept."""
    request = begin(served, content_length="4")
    request.coming.arrive(b"[{")
    request.coming.arrive(b"")
    assert request.statuses == [408]
    assert served.pipeline.process_spool.unfinished() == []
    assert served.memory.used == 0


@pytest.mark.parametrize("path", ["/payloads", "/nowhere"])
def test_a_body_that_stalls_is_a_408(served: Served, path: str) -> None:
    """One with time left is waited for; no thread is taken by either."""
    late = Request("POST", path, content_length="4")
    served.router.request(late)
    [body] = served.router._arriving
    other = begin(served, content_length="4")
    late.coming.arrive(b"[")
    served.router.expire(body.deadline)
    assert late.statuses == [408]
    assert other.answers == []
    assert served.waiting == {}
    other.coming.arrive(b"[{}]")
    assert other.statuses == [202]
    assert not served.router._arriving
    assert served.memory.used == 0


def test_a_body_has_the_time_of_a_request(served: Served) -> None:
    """`REQUEST_SECONDS` from its head, however many parts it has."""
    begin(served, content_length="4")
    begin(served, content_length="4")
    first, second = served.router._arriving
    assert second.deadline - first.deadline < MAX_WAIT / 2
    served.router.expire(first.deadline - 0.001)
    assert len(served.router._arriving) == 2


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_over_the_limit_is_read_away(served: Served, framing: str) -> None:
    """The client sees its 413 after it has sent all; nothing is kept meanwhile."""
    headers = (
        {"content_length": str(2 * MAX_BODY)}
        if framing == "length"
        else {"transfer_encoding": "chunked"}
    )
    request = begin(served, **headers)
    for _ in range(8):
        assert request.answers == []
        request.coming.arrive(b" " * (MAX_BODY // 4))
        assert served.memory.used <= MAX_BODY
    if framing == "chunks":
        request.coming.arrive(b"")
        request.coming.fail(StopAsyncIteration())
    assert f"larger than {MAX_BODY} bytes" in detail(request)
    assert served.memory.used == 0


def test_an_endless_body_is_not_read_away(served: Served) -> None:
    """Eight times the limit, and no more."""
    request = begin(served, transfer_encoding="chunked")
    for _ in range(9):
        assert request.answers == []
        request.coming.arrive(b" " * MAX_BODY)
    assert request.statuses == [413]
    assert served.memory.used == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"content_length": str(1 << 40)},
        {"content_length": str(2 * MAX_BODY), "expect": "100-continue"},
    ],
)
def test_what_need_not_be_sent_is_not_asked_for(served: Served, headers: dict[str, str]) -> None:
    """The length alone is enough for a 413."""
    request = begin(served, **headers)
    assert request.statuses == [413]
    assert request.asked == 0


def test_the_largest_body_gives_way(served: Served) -> None:
    """Where all together are too many; small ones beside it, and those that come, are taken."""
    greedy, modest = (begin(served, content_length=str(MAX_BODY)) for _ in range(2))
    greedy.coming.arrive(b" " * (MAX_BODY - 1))
    modest.coming.arrive(b" " * (MAX_BODY - 2))
    third = begin(served, content_length="4")
    third.coming.arrive(b"[")
    third.coming.arrive(b"{}")
    assert served.memory.used == 2 * MAX_BODY
    third.coming.arrive(b"]")
    assert third.statuses == [202]
    small = begin(served, content_length="9")
    small.coming.arrive(b"[{}  ")
    assert served.memory.used < 2 * MAX_BODY
    greedy.coming.arrive(b" ")
    [answer] = greedy.answers
    assert answer.status == 503
    assert "Retry-After" in dict(answer.headers)
    small.coming.arrive(b"   ]")
    assert small.statuses == [202]
    modest.coming.arrive(b"[]")
    assert served.waiting == {"large": 1}


def test_a_body_that_is_announced_takes_no_room(served: Served) -> None:
    """A thousand large lengths keep nothing out."""
    for _ in range(1000):
        begin(served, content_length=str(MAX_BODY), content_encoding="gzip")
    assert served.memory.used == 0
    request = begin(served, content_length="4")
    request.coming.arrive(b"[{}]")
    assert request.statuses == [202]


def test_a_body_that_gave_way_is_never_taken_for_an_empty_one(served: Served) -> None:
    """Its end may be all that comes after: that is a 503, to be sent again."""
    greedy = begin(served, transfer_encoding="chunked")
    greedy.coming.arrive(b" " * MAX_BODY)
    other = begin(served, content_length=str(MAX_BODY))
    other.coming.arrive(b" " * (MAX_BODY - 1))
    third = begin(served, content_length="9")
    third.coming.arrive(b"[{}    ")
    greedy.coming.arrive(b"")
    greedy.coming.fail(StopAsyncIteration())
    assert greedy.statuses == [503]
