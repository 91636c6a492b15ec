"""Members of many JSON objects at once, found by their paths; the rest is skipped, not built.

Values stay JSON texts. Of repeated members the last counts, as with other readers of the lines.
"""

import re
from collections.abc import Callable, Sequence
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
    """Finds the members at some paths. Safe to share between threads.

    Nearly always in one pass, which takes what is on the way for objects.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._objects = _Objects(paths)
        decoder = msgspec.json.Decoder(_struct(paths, nested=True))
        self._decode, self._decode_lines = decoder.decode, decoder.decode_lines
        self._getters = [_getter(path, paths) for path in paths]

    def find(self, lines: bytes) -> list[list[bytes]]:
        """Return each path's values, one for each line; `ABSENT` where there is none.

        `lines` are JSON objects, each ended by a newline. Does not block.
        """
        try:
            found = self._decode_lines(lines)
        except (msgspec.DecodeError, RecursionError):
            rows = [self.find_one(line) for line in lines[:-1].split(b"\n")]
            return list(map(list, zip(*rows, strict=True)))
        return [list(map(bytes, map(get, found))) for get in self._getters]

    def find_one(self, line: bytes) -> list[bytes]:
        """Return each path's value in one line."""
        try:
            found = self._decode(line)
        except (msgspec.DecodeError, RecursionError):
            values = self._objects.find(line)
            return [values[path] for path in self._paths]
        return [bytes(get(found)) for get in self._getters]

    def finder(self) -> Callable[[bytes], bytes]:
        """Return what finds the first path's value in one line."""
        decode, get, objects, path = self._decode, self._getters[0], self._objects, self._paths[0]

        def find(line: bytes) -> bytes:
            try:
                return bytes(get(decode(line)))
            except (msgspec.DecodeError, RecursionError):
                return objects.find(line)[path]

        return find


class _Objects:
    """Finds members where what is on the way may be no object, object by object."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._decoder = msgspec.json.Decoder(_struct(paths, nested=False))
        self._none = self._decoder.decode(b"{}")
        names = _by_name(paths)
        self._getters = [(name, attrgetter(f"m{number}")) for number, name in enumerate(names)]
        self._deeper = {name: _Objects(rest) for name, rest in names.items() if rest}

    def find(self, text: bytes) -> dict[Path, bytes]:
        """Return each path's value in one JSON value."""
        found = self._decode(text) if text[:1] == b"{" else self._none
        values: dict[Path, bytes] = {}
        for name, get in self._getters:
            value = values[name,] = bytes(get(found))
            if name in self._deeper:
                inner = self._deeper[name].find(value)
                values |= {(name, *path): each for path, each in inner.items()}
        return values

    def _decode(self, text: bytes) -> Any:
        """Decode an object, half pairs of surrogates too: they are read as U+FFFD."""
        try:
            return self._decoder.decode(text)
        except (msgspec.DecodeError, RecursionError):
            pass
        try:
            return self._decoder.decode(_ESCAPE.sub(_replace_lone, text))
        except (msgspec.DecodeError, RecursionError):
            # Nested as deeply as Python's stack allows, or a little more than when it was checked.
            return self._none


def _by_name(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the names that paths begin with, and how they go on, if they do."""
    names: dict[str, list[Path]] = {name: [] for name, *_ in paths}
    for name, *rest in paths:
        if rest:
            names[name].append(tuple(rest))
    return names


def _struct(paths: Sequence[Path], *, nested: bool) -> type[Any]:
    """Make a type of objects with a raw member for each path, or only for its first name."""
    fields: list[tuple[str, Any, Any]] = []
    names = _by_name(paths)
    for number, rest in enumerate(names.values()):
        kind = _struct(rest, nested=True) if nested and rest else Raw
        fields.append((f"m{number}", kind, Raw(ABSENT) if kind is Raw else kind()))
    rename = {f"m{number}": name for number, name in enumerate(names)}
    made: type[Any] = msgspec.defstruct("Members", fields, rename=rename, frozen=True, gc=False)
    return made


def _getter(path: Path, paths: Sequence[Path]) -> Callable[[Any], Any]:
    """Return what gets a path's value out of a nested struct."""
    if any(other[: len(path)] == path != other for other in paths):
        # It is an object, as others look into it: no text of it is wanted.
        return lambda _: ABSENT
    place = []
    for name in path:
        names = _by_name([tuple(each) for each in paths])
        place.append(f"m{list(names).index(name)}")
        paths = names[name]
    return attrgetter(".".join(place))


def _replace_lone(found: re.Match[bytes]) -> bytes:
    return found[0] if found["lone"] is None else rb"\ufffd"
