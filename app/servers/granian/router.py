"""Decides, once, which way a request of the HTTP engine's goes. No thread waits for a client.

- A POST of payloads goes to `Posts`, once its body is here.
- A probe is answered at once.
- Anything else is Flask's, in a thread, once its body has been read and thrown away: no other route
  has a use for one.

Knows requests in the engine's form (RSGI), and neither gunicorn nor payloads.
"""

import time
from typing import Any

from app.http.body_memory import BodyMemory
from app.http.problems import Problem, TooLarge, too_large
from app.http.responses import Answer, Finisher, failure, refusal
from app.http.wsgi_body import MAX_DISCARD_FACTOR
from app.ingest.arrival import Entrance
from app.ingest.posts import Posts, Tasks
from app.ingest.ways import stream_of
from app.probes import METHODS, Probes
from app.servers.granian.bodies import Body, KeptBody, length_of, send
from app.servers.granian.head import EngineHead
from app.servers.granian.wsgi_bridge import call_wsgi

RECEIPTS = "/receipts/"


class RequestRouter:
    """Takes each request from the engine.

    `request` is called in an engine's Python thread; `expire` from the worker's main thread.
    `receipts` are threads for look-ups, which may wait for S3; `others` for the other routes.
    Without `takes_payloads` a POST is no other than any request.
    """

    def __init__(
        self,
        posts: Posts,
        *,
        entrance: Entrance,
        finisher: Finisher,
        probes: Probes,
        memory: BodyMemory,
        receipts: Tasks,
        others: Tasks,
        wsgi: Any,
        limit: int,
        request_timeout: float,
        takes_payloads: bool = True,
    ) -> None:
        self.limit = limit
        self.memory = memory
        self._posts = posts
        self._entrance = entrance
        self._takes_payloads = takes_payloads
        # With access rules every request is looked at more closely.
        self._is_open = takes_payloads and entrance.gate is None
        self._known = entrance.known
        self._finisher = finisher
        self._probes = probes.paths
        self._receipts = receipts
        self._others = others
        self._wsgi = wsgi
        self._request_timeout = request_timeout
        # In the order of their deadlines. Without a lock: each use is one operation of a dict,
        # atomic without a GIL too (https://docs.python.org/3/howto/free-threading-python.html).
        self._arriving: dict[Body, None] = {}

    def request(self, watcher: Any) -> None:
        """Begin with a request. Must not raise, nor return anything: the engine would leak it."""
        proto = watcher.proto
        try:
            scope = watcher.scope
            headers = scope.headers
            length = length_of(headers)
            stream = stream_of(scope.method, scope.path) if self._is_open else None
            if stream is not None:
                self._receive(
                    KeptBody.of(self, proto, scope, headers=headers, length=length, stream=stream)
                )
            elif self._takes_payloads and self._arrive(scope, proto, headers, length):
                return
            elif length == 0:
                self._go(scope, proto)
            else:
                self._receive(Body(self, proto, scope, headers, length))
        except Exception as error:  # noqa: BLE001 (the client gets an answer for any error)
            self._fail(proto, error, sent_id=None)

    def expire(self, now: float) -> None:
        """Give up bodies whose time is over."""
        for body in list(self._arriving):
            if body.deadline > now:
                break
            body.give_up()

    def arrived(self, body: KeptBody, whole: bytes) -> None:
        """Go on with a POST of payloads."""
        self._arriving.pop(body, None)
        self._posts.begin(body, whole)

    def thrown_away(self, body: Body) -> None:
        """Go on with a request whose body was read for nothing, or refuse it."""
        self._arriving.pop(body, None)
        problem = body.problem
        if isinstance(body, KeptBody):
            assert problem is not None
            if body.arrival is not None:
                body.arrival.body_arrived(body.received)
            self._posts.refuse(body, problem)
        # How large a body without use is does not matter.
        elif problem is None or isinstance(problem, TooLarge):
            self._go(body.scope, body.proto)
        else:
            self._refuse(body.proto, problem, sent_id=body.sent_id)

    def failed(self, body: Body, error: Exception) -> None:
        """Answer a request that failed by a fault of ours."""
        self._arriving.pop(body, None)
        if not isinstance(body, KeptBody):
            self._fail(body.proto, error, sent_id=body.sent_id)
            return
        if body.arrival is not None:
            body.arrival.body_arrived(body.received)
        self._posts.fail(body, error)

    def _arrive(self, scope: Any, proto: Any, headers: Any, length: int | None) -> bool:
        """Begin with a request if it is a POST of payloads, or a browser's question about one."""
        method = scope.method
        if method == "OPTIONS":
            answer = self._entrance.preflight(scope.path, EngineHead(scope, headers))
            if answer is None:
                return False
            self._finisher.send(
                lambda: answer,
                sent_id=headers.get("x-request-id"),
                send=lambda answer: send(proto, answer),
            )
            return True
        if method != "POST":
            return False
        path, head = scope.path, EngineHead(scope, headers)
        if self._known is not None and (known := self._known.find(path, head)) is not None:
            body = KeptBody.of(
                self, proto, scope, headers=headers, length=length, stream=known.stream
            )
            body.problem = known.begin()
            body.arrival = known if body.problem is None else None
            self._receive(body)
            return True
        arrival = self._entrance.arrive(
            path, head, length=length, encoded="content-encoding" in headers
        )
        if arrival is None:
            return False
        body = KeptBody.of(
            self, proto, scope, headers=headers, length=length, stream=arrival.way.stream
        )
        body.arrival = arrival
        body.content_type = arrival.content_type
        body.problem = arrival.problem
        self._receive(body)
        return True

    def _receive(self, body: Body) -> None:
        length = body.length
        try:
            if body.problem is not None:
                self._discard(body, length)
            elif length is not None and not 0 < length <= self.limit:
                self._receive_unusual(body, length)
            else:
                self._ask_for(body)
        except Exception as error:  # noqa: BLE001 (the client gets an answer for any error)
            self.failed(body, error)

    def _receive_unusual(self, body: Body, length: int) -> None:
        """Go on with a body that is empty or too large."""
        if not length:
            assert isinstance(body, KeptBody)
            self._posts.begin(body, b"")
            return
        body.problem = too_large(self.limit)
        self._discard(body, length)

    def _discard(self, body: Body, length: int | None) -> None:
        """Refuse a request, once its body is read and thrown away if it is not too long."""
        largest = self.limit * MAX_DISCARD_FACTOR
        # An `Expect` waits for this very answer (RFC 9110 section 10.1.1).
        if length == 0 or (length or 0) > largest or "expect" in body.headers:
            self.thrown_away(body)
        else:
            self._ask_for(body)

    def _ask_for(self, body: Body) -> None:
        body.deadline = time.monotonic() + self._request_timeout
        self._arriving[body] = None
        body.begin()

    def _go(self, scope: Any, proto: Any) -> None:
        """Answer a request without a body: a probe here, others in a thread."""
        probe = self._probes.get(scope.path)
        sent_id = scope.headers.get("x-request-id")
        if probe is not None and scope.method in METHODS:
            self._finisher.send(
                probe, sent_id=sent_id, send=lambda answer: send_to(proto, scope, answer)
            )
            return
        tasks = self._receipts if scope.path.startswith(RECEIPTS) else self._others
        tasks.submit(
            lambda: self._call(scope, proto),
            refuse=lambda problem: self._refuse(proto, problem, sent_id=sent_id),
        )

    def _call(self, scope: Any, proto: Any) -> None:
        """Have Flask answer, which also finishes its responses."""
        try:
            send(proto, call_wsgi(self._wsgi, scope))
        except Exception as error:  # noqa: BLE001 (the client gets an answer for any error)
            self._fail(proto, error, sent_id=scope.headers.get("x-request-id"))

    def _refuse(self, proto: Any, problem: Problem, *, sent_id: str | None) -> None:
        self._finisher.send(
            lambda: refusal(problem), sent_id=sent_id, send=lambda answer: send(proto, answer)
        )

    def _fail(self, proto: Any, error: Exception, *, sent_id: str | None) -> None:
        self._finisher.send(
            lambda: failure(error), sent_id=sent_id, send=lambda answer: send(proto, answer)
        )


def send_to(proto: Any, scope: Any, answer: Answer) -> None:
    """Send a response to GET, or to HEAD without its body."""
    if scope.method == "HEAD":
        length = ("Content-Length", str(len(answer.body)))
        answer = Answer(answer.status, [*answer.headers, length], b"")
    send(proto, answer)
