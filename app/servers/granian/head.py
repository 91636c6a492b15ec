"""The head of a request of the engine's, as readers and the access rules look at it."""

from collections.abc import Iterable
from typing import Any

# The engine leaves out values that are not ASCII: what is there must not seem absent.
UNREADABLE = "\ufffd"


class EngineHead:
    """A request's headers and query, from the engine's scope (RSGI)."""

    __slots__ = ("_headers", "_scope")

    def __init__(self, scope: Any, headers: Any) -> None:
        self._scope = scope
        self._headers = headers

    @property
    def query(self) -> str:
        """The query string, undecoded."""
        found: str = self._scope.query_string
        return found

    def header(self, name: str) -> str | None:
        """Return a header's value; several are one list (RFC 9110 section 5.3)."""
        headers = self._headers
        if name not in headers:
            return None
        values = headers.get_all(name)
        return ", ".join(values) if values else UNREADABLE

    def header_items(self) -> Iterable[tuple[str, str]]:
        """Return all headers, a repeated one as one list."""
        names = self._headers.keys()
        return [(name, self.header(name) or "") for name in names]
