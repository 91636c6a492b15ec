"""The hot route: small plain POSTs of collections, without Flask's 50 microseconds.

The same front door as Flask's routes, and byte for byte the same answers. It takes what it can
hold in memory at once and answer without looking further; everything else is Flask's.
"""

from collections.abc import Callable

from app.http.problems import Problem
from app.http.responses import Answer, failure, refusal
from app.ingest.handler import IngestHandler
from app.logs import request_id, take_request_id
from workers.errors import Refusal
from workers.segments.future import DurabilityFuture
from workers.segments.naming import STREAM

PATH = "/payloads"
DEFAULT_STREAM = "default"
# A longer length is no length, whatever it begins with.
MAX_DIGITS = 12
Send = Callable[[Answer], None]


class FastPath:
    """Safe to share between threads. `largest` is the largest body for this route, in bytes."""

    def __init__(self, handler: IngestHandler, *, largest: int) -> None:
        self.largest = largest
        self._handler = handler

    def stream(self, method: str, path: str, *, length: str | None, plain: bool) -> str | None:
        """Return the stream of a request that is for this route, None for any other.

        `plain` says that the body is neither chunked nor under a Content-Encoding.
        """
        if method != "POST" or not plain or not path.startswith(PATH):
            return None
        if length is None or not length.isdecimal() or len(length) > MAX_DIGITS:
            return None
        if int(length) > self.largest:
            return None
        if path == PATH:
            return DEFAULT_STREAM
        name = path[len(PATH) + 1 :]
        return name if path[len(PATH)] == "/" and STREAM.fullmatch(name) else None

    def begin(
        self, stream: str, body: bytes, *, content_type: str, sent_id: str | None, send: Send
    ) -> None:
        """Take a body and have `send` called once, perhaps by the committer's thread, later.

        Does not block, and does not raise.
        """
        chosen = take_request_id(sent_id)
        try:
            taken = self._handler.take(stream, body, content_type=content_type)
        except Problem as problem:
            self._finish(refusal(problem), chosen, send)
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer)
            self._finish(failure(error), chosen, send)
        else:
            answer = taken.answer

            def settled(future: DurabilityFuture) -> None:
                error = future.exception
                said = answer if error is None else self._late(error, chosen)
                self._finish(said, chosen, send)

            taken.future.add_done_callback(settled)
        request_id.set(None)

    def refuse(self, problem: Problem, *, sent_id: str | None, send: Send) -> None:
        """Answer a request whose body did not come."""
        self._finish(refusal(problem), take_request_id(sent_id), send)
        request_id.set(None)

    def _late(self, error: Refusal, chosen: str) -> Answer:
        """Return the answer to a collection that turned out not to be safe."""
        request_id.set(chosen)
        answer = refusal(self._handler.problem(error))
        request_id.set(None)
        return answer

    def _finish(self, answer: Answer, chosen: str, send: Send) -> None:
        answer.headers.append(("X-Request-ID", chosen))
        self._handler.count(answer.status)
        send(answer)
