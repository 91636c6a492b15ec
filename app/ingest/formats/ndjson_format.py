"""`application/x-ndjson`: an object a line, blank lines skipped."""

import io
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Raw

from app.http.problems import Fault, NotJson, WrongShape, pointer
from app.ingest.formats.collection import PART_BYTES, Collection, raise_any


class _Object(msgspec.Struct, gc=False):
    """Any JSON object: its members are checked as JSON, and skipped."""


_value = msgspec.json.Decoder(Raw).decode
_object = msgspec.json.Decoder(_Object).decode


def read_ndjson(body: bytes) -> Collection:
    """Read a body of valid UTF-8. Raises as every `Reader`."""
    done, count = [], 0
    for part in _parts(body):
        lines = list(filter(bytes.strip, part.split(b"\n")))
        try:
            list(map(_object, lines))
        except (msgspec.DecodeError, RecursionError):
            raise_any(NotJson, "Lines are not JSON.", _line_faults(body, _value))
            raise_any(WrongShape, "Lines must be objects.", _line_faults(body, _object))
            raise
        count += len(lines)
        done.append(b"\n".join([*lines, b""]))
    joined = b"".join(done)
    # every line is checked by now, so a carriage return is layout
    return Collection(joined.translate(None, b"\r") if b"\r" in joined else joined, count)


def _parts(body: bytes) -> Iterator[bytes]:
    """Cut at newlines into parts of about `PART_BYTES`, as lines cost more memory apart."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + PART_BYTES) + 1 or len(body)
        yield body[start:end]
        start = end


def _line_faults(body: bytes, check: Callable[[bytes], object]) -> Iterator[Fault]:
    for index, line in enumerate(filter(bytes.strip, io.BytesIO(body))):
        try:
            check(line)
        except RecursionError:
            yield Fault(pointer(index), "Nested too deeply.")
        except msgspec.DecodeError as error:
            yield Fault(pointer(index), f"{error}.")
