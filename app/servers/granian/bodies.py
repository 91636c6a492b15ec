"""Request bodies on their way: the engine calls them when more of one is here.

They hold no thread meanwhile. Part by part, as what is not taken keeps a whole buffer of the
engine's. Knows requests in the engine's form (RSGI), and no payloads.
"""

from typing import Any, Protocol

import msgspec

from app.http.body_memory import BodyMemory, Buffer
from app.http.problems import Problem, Unavailable, broken_chunks, incomplete, too_large
from app.http.responses import Answer
from app.http.wsgi_body import MAX_DISCARD_FACTOR

# Of a longer length only leading zeros are worth reading.
MAX_DIGITS = 18
# The engine names itself in a response without this header, and cannot leave the header out.
EMPTY_SERVER = ("Server", "")


def send(proto: Any, answer: Answer) -> None:
    """Send a response to a request. A second one is ignored."""
    answer.headers.append(EMPTY_SERVER)
    proto.response_bytes(answer.status, answer.headers, answer.body)


def length_of(headers: Any) -> int | None:
    """Return how long a request's body is; None where it is chunked. hyper checked the digits."""
    if "transfer-encoding" in headers:
        return None
    length = headers.get("content-length")
    if length is None:
        return 0
    return int(length if len(length) <= MAX_DIGITS else length.lstrip("0")[:MAX_DIGITS] or "0")


class Receiver(Protocol):
    """What a body tells the router that asked for it."""

    limit: int
    memory: BodyMemory

    def arrived(self, body: "KeptBody", whole: bytes) -> None:
        """Go on with a POST of payloads."""

    def thrown_away(self, body: "Body") -> None:
        """Go on with a request whose body was read for nothing; `body.problem` says what failed."""

    def failed(self, body: "Body", error: Exception) -> None:
        """Answer a request that failed by a fault of ours."""


class Body(msgspec.Struct, eq=False):
    """A body whose bytes are read and thrown away.

    That is for requests whose route has no use for one, and for bodies that are too large or have
    to give way: a client that sends before it reads would see a reset and not its response.
    A msgspec.Struct, as it takes a quarter of the time to make.
    """

    _receiver: Receiver
    proto: Any
    scope: Any
    # The scope copies them each time it is asked.
    headers: Any
    length: int | None
    # Monotonic; set by the receiver.
    deadline: float = 0.0
    # The response instead, once the rest is read.
    problem: Problem | None = None
    # Bytes, those that were thrown away too.
    received: int = 0
    # The engine's future of the next part.
    _coming: Any = None
    _takes_end: bool = False

    @property
    def sent_id(self) -> str | None:
        """The request id that the client sent."""
        found: str | None = self.headers.get("x-request-id")
        return found

    def begin(self) -> None:
        """Ask the engine for the body; returns at once."""
        self.proto.__aiter__()
        self._coming = coming = self.proto.__anext__()
        coming.add_done_callback(self)

    def give_up(self) -> None:
        """Wait no longer; the client gets a 408."""
        coming = self._coming
        if coming is not None:
            coming.cancel()

    def send(self, answer: Answer) -> None:
        """Send the response; the engine's threads do the rest. A second one is ignored."""
        answer.headers.append(EMPTY_SERVER)
        self.proto.response_bytes(answer.status, answer.headers, answer.body)

    def release(self) -> None:
        """Take note that the body is not needed any more."""

    def __call__(self, coming: Any) -> None:
        """Go on with a request when a part of its body is here, or will not be."""
        # It refers to this object: a cycle through Rust, which the collector cannot free.
        self._coming = None
        try:
            if coming.cancelled():
                self._end(incomplete())
            elif self._takes_end:
                self._take_end(coming)
            # The engine gives the body's end, and a break in it, as an empty part.
            elif part := coming.result():
                self._take(part)
            elif self.length is None:
                self._ask_for_end()
            else:
                self._end(incomplete())
        except Exception as error:  # noqa: BLE001 (the client gets an answer for any error)
            self._receiver.failed(self, error)

    def _ask(self) -> None:
        self._coming = coming = self.proto.__anext__()
        coming.add_done_callback(self)

    def _take(self, part: bytes) -> None:
        self.received += len(part)
        self._keep(part)
        if self.received == self.length:
            self._end(None)
        elif self.received > self._receiver.limit * MAX_DISCARD_FACTOR:
            self._end(too_large(self._receiver.limit))
        else:
            self._ask()

    def _keep(self, part: bytes) -> None:
        """Keep nothing."""

    def _ask_for_end(self) -> None:
        """Tell the end of chunks from a break: only after the end there is nothing to ask for."""
        self._takes_end = True
        try:
            self._ask()
        except StopAsyncIteration:
            self._end(None)

    def _take_end(self, coming: Any) -> None:
        try:
            coming.result()
        except StopAsyncIteration:
            self._end(None)
        else:
            self._end(broken_chunks())

    def _end(self, problem: Problem | None) -> None:
        if self.problem is None:
            self.problem = problem
        self._receiver.thrown_away(self)


class KeptBody(Body):
    """The body of a POST of payloads for a stream, kept whole."""

    stream: str = ""
    content_type: str = ""
    content_encoding: str = ""
    prefer: str = ""
    idempotency_key: str | None = None
    # The POST's way and key, `app.ingest`'s business; None for the plain way.
    arrival: Any = None
    _buffer: Buffer | None = None

    @classmethod
    def of(
        cls,
        receiver: Receiver,
        proto: Any,
        scope: Any,
        *,
        headers: Any,
        length: int | None,
        stream: str,
    ) -> "KeptBody":
        """Make one of a request's head."""
        body = cls(
            receiver,
            proto,
            scope,
            headers,
            length,
            stream=stream,
            content_type=headers.get("content-type", ""),
        )
        if "content-encoding" in headers:
            body.content_encoding = _joined(headers, "content-encoding")
        if "prefer" in headers:
            body.prefer = _joined(headers, "prefer")
        if "idempotency-key" in headers:
            body.idempotency_key = ", ".join(headers.get_all("idempotency-key"))
        return body

    def release(self) -> None:
        """Take note that the body is not needed any more."""
        if self._buffer is not None:
            self._buffer.release()

    def _take(self, part: bytes) -> None:
        # Most bodies are here at once, and are not copied.
        if len(part) == self.length and self.problem is None:
            self._receiver.arrived(self, part)
        else:
            super()._take(part)

    def _keep(self, part: bytes) -> None:
        if self.problem is not None:
            return
        if self.received > self._receiver.limit:
            self.problem = too_large(self._receiver.limit)
            self.release()
            return
        if self._buffer is None:
            self._buffer = Buffer(self._receiver.memory)
        try:
            self._buffer.append(part)
        except Unavailable as problem:
            self.problem = problem.without_frames()

    def _end(self, problem: Problem | None) -> None:
        if problem is not None or self.problem is not None:
            super()._end(problem)
            return
        try:
            whole = b"" if self._buffer is None else self._buffer.whole()
        except Unavailable as gave_way:
            super()._end(gave_way.without_frames())
        else:
            self._receiver.arrived(self, whole)


def _joined(headers: Any, name: str) -> str:
    """Return a header's values as one list (RFC 9110 section 5.3).

    The engine leaves out values that are not ASCII: what is there must not seem absent.
    """
    return ", ".join(headers.get_all(name)) or "?"
