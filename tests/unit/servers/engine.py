"""Requests as the engine shows them, and threads that work when a test says so."""

from collections.abc import Callable
from typing import Any

from app.http.problems import Problem
from app.http.responses import Answer


class Coming:
    """The engine's future of a body's part: it arrives, or is cancelled, when a test says so."""

    def __init__(self) -> None:
        self.callback: Callable[[Any], None] | None = None
        self.part = b""
        self.error: BaseException | None = None
        self.is_cancelled = False

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.callback = callback

    def arrive(self, part: bytes) -> None:
        self.part = part
        assert self.callback is not None
        self.callback(self)

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.arrive(b"")

    def cancel(self) -> None:
        self.is_cancelled = True
        assert self.callback is not None
        self.callback(self)

    def cancelled(self) -> bool:
        return self.is_cancelled

    def result(self) -> bytes:
        if self.error is not None:
            raise self.error
        return self.part


class HeaderMap(dict[str, str]):
    """Headers, as many of their methods as are used."""

    def get_all(self, name: str) -> list[str]:
        return [self[name]] if name in self else []


class Request:
    """A request as the engine shows it: watcher, scope and protocol in one."""

    def __init__(self, method: str = "POST", path: str = "/payloads", **headers: str) -> None:
        self.method, self.path = method, path
        self.query_string, self.scheme, self.server, self.http_version = "", "http", "h:1", "1.1"
        self.headers = HeaderMap({name.replace("_", "-"): headers[name] for name in headers})
        self.coming = Coming()
        self.asked = 0
        self.answers: list[Answer] = []

    @property
    def proto(self) -> "Request":
        return self

    @property
    def scope(self) -> "Request":
        return self

    def __aiter__(self) -> "Request":
        return self

    def __anext__(self) -> Any:
        self.asked += 1
        self.coming = Coming()
        return self.coming

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answers.append(Answer(status, headers, body))

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


class HeldTasks:
    """A queue of tasks that are done, or refused, when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], None], Callable[[Problem], None]]] = []

    def submit(self, run: Callable[[], None], *, refuse: Callable[[Problem], None]) -> None:
        self.waiting.append((run, refuse))

    def work(self) -> None:
        """Do the next task."""
        self.waiting.pop(0)[0]()

    def refuse(self, problem: Problem) -> None:
        """Refuse the next task."""
        self.waiting.pop(0)[1](problem)
