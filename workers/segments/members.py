"""Members of many JSON objects at once, found by their paths; the rest is skipped, not built.

Values stay JSON texts. Of repeated members the last counts, as with other readers of the lines.
"""

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import Raw

from workers.segments.key_template import Path

ABSENT: Final = b"null"
# Any escape, so that backslashes are read in pairs; a pair of surrogates is one.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|u(?P<lone>[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class Members:
    """Finds the members at some paths, in a batch. Safe to share between threads."""

    def __init__(self, paths: Sequence[Path]) -> None:
        names = list(dict.fromkeys(path[0] for path in paths))
        fields = [f"m{number}" for number in range(len(names))]
        members: type[Any] = msgspec.defstruct(
            "Members",
            [(field, Raw, Raw(ABSENT)) for field in fields],
            rename=dict(zip(fields, names, strict=True)),
            gc=False,
        )
        self._decoder = msgspec.json.Decoder(members)
        self._none = members()
        self._names = [(name, attrgetter(field)) for name, field in zip(names, fields, strict=True)]
        deeper = {
            name: [path[1:] for path in paths if path[0] == name and path[1:]] for name in names
        }
        self._deeper = {name: Members(inner) for name, inner in deeper.items() if inner}

    def find(self, lines: bytes) -> dict[Path, list[bytes]]:
        """Return each path's values, one for each line; `ABSENT` where there is none.

        `lines` are JSON objects, with a newline between them. Does not block.
        """
        found = self._decode(lines)
        columns: dict[Path, list[bytes]] = {}
        for name, get in self._names:
            column = columns[name,] = list(map(bytes, map(get, found)))
            deeper = self._deeper.get(name)
            if deeper is not None:
                objects = [value if value[:1] == b"{" else b"{}" for value in column]
                inner = deeper.find(b"\n".join(objects))
                columns |= {(name, *path): values for path, values in inner.items()}
        return columns

    def find_one(self, line: bytes) -> dict[Path, bytes]:
        """Return each path's value in one line."""
        found = self._decode_one(line)
        values: dict[Path, bytes] = {}
        for name, get in self._names:
            value = values[name,] = bytes(get(found))
            deeper = self._deeper.get(name)
            if deeper is not None:
                inner = deeper.find_one(value if value[:1] == b"{" else b"{}")
                values |= {(name, *path): each for path, each in inner.items()}
        return values

    def _decode(self, lines: bytes) -> list[Any]:
        try:
            return self._decoder.decode_lines(lines)
        except (msgspec.DecodeError, RecursionError):
            return [self._decode_one(line) for line in lines.rstrip(b"\n").split(b"\n")]

    def _decode_one(self, line: bytes) -> Any:
        """Decode one line, half pairs of surrogates too: they are read as U+FFFD."""
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, RecursionError):
            pass
        try:
            return self._decoder.decode(_ESCAPE.sub(_replace_lone, line))
        except (msgspec.DecodeError, RecursionError):
            # Nested as deeply as Python's stack allows, or a little more than when it was checked.
            return self._none


def _replace_lone(found: re.Match[bytes]) -> bytes:
    return found[0] if found["lone"] is None else rb"\ufffd"
