r"""Lone surrogates: escapes such as `"\ud83d"` without their other half, as JavaScript cuts emoji.

The grammar of JSON allows them (RFC 8259 section 8.2); msgspec refuses them. So a body that was
refused and holds some is read again with each masked by as many bytes of a valid string, which
keeps byte offsets, and what was read has them put back.
"""

import random
import re
from collections.abc import Callable
from typing import Final, NamedTuple, Self

import msgspec

from app.http.problems import Fault, NotJson, Problem
from app.ingest.formats.collection import Collection

# Any escape, so that the backslashes of `\\ud83d` are read in pairs; a pair of surrogates is one.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|u(?P<lone>[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
# Unicode's private use area: three bytes each in UTF-8, as many as `\ud`.
_PRIVATE_USE: Final = range(0xE000, 0xF900)
_TRIES: Final = 32


class Masked(NamedTuple):
    r"""A body in which `\ud` and `\uD` of lone surrogates are characters that it does not hold."""

    body: bytes
    marks: dict[str, str]

    @classmethod
    def of(cls, body: bytes) -> Self | None:
        """Mask a body's lone surrogates; None if it holds none."""
        if b"\\ud" not in body and b"\\uD" not in body:
            return None
        marks = _unused(body)
        letters = {b"d": marks[0].encode(), b"D": marks[1].encode()}

        def mask(found: re.Match[bytes]) -> bytes:
            lone = found["lone"]
            return found[0] if lone is None else letters[lone[:1]] + lone[1:]

        masked = _ESCAPE.sub(mask, body)
        return (
            None if masked == body else cls(masked, dict(zip(marks, (r"\ud", r"\uD"), strict=True)))
        )

    def read(self, read: Callable[[bytes], Collection]) -> Collection:
        """Read the masked body; put the surrogates back into what came of it, problems too."""
        try:
            collection = read(self.body)
        except Problem as problem:
            problem.errors = tuple(
                Fault(self._unmask_text(each.pointer), self._unmask_text(each.detail))
                for each in problem.errors
            )
            raise
        return msgspec.structs.replace(
            collection,
            lines=self._unmask(collection.lines),
            version=collection.version and self._unmask_text(collection.version),
            token=collection.token and self._unmask_text(collection.token),
        )

    def _unmask(self, data: bytes) -> bytes:
        for mark, escape in self.marks.items():
            data = data.replace(mark.encode(), escape.encode())
        return data

    def _unmask_text(self, text: str) -> str:
        """Put surrogates back as characters, as Python's own decoder reads them."""
        for mark in self.marks:
            text = re.sub(mark + "(...)", lambda found: chr(int("d" + found[1], 16)), text)
        return text


def _unused(body: bytes) -> list[str]:
    """Return two characters that are not in a body.

    Which ones is random, so that no client can use them on purpose. Of a body that holds a large
    part of all there are none may be found; it stays refused.
    """
    found = [
        mark for mark in map(chr, random.sample(_PRIVATE_USE, _TRIES)) if mark.encode() not in body
    ]
    if len(found) < 2:
        raise NotJson("The body's lone surrogates cannot be read.")
    return found[:2]
