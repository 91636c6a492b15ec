"""`application/x-ndjson`: an object a line, blank lines skipped."""

import io
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Raw

from app.http.problems import Fault, NotJson, WrongShape, pointer
from app.ingest.formats.collection import PART_BYTES, Collection, raise_any
from app.ingest.formats.rejected import Rejected


class _Object(msgspec.Struct, gc=False):
    """Any JSON object: its members are checked as JSON, and skipped."""


_value = msgspec.json.Decoder(Raw).decode
_object = msgspec.json.Decoder(_Object).decode


def read_ndjson(body: bytes, rejected: Rejected | None = None) -> Collection:
    """Read a body of valid UTF-8. Raises as every `Reader`."""
    done, count = [], 0
    for part in _parts(body):
        lines = list(filter(bytes.strip, part.split(b"\n")))
        try:
            list(map(_object, lines))
        except (msgspec.DecodeError, RecursionError):
            if rejected is not None:
                lines = _good_lines(lines, rejected, first=count + len(rejected.indexes))
                count += len(lines)
                done.append(b"".join([line + b"\n" for line in lines]))
                continue
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
        fault = _line_fault(line, check, index=index)
        if fault is not None:
            yield fault


def _line_fault(line: bytes, check: Callable[[bytes], object], *, index: int) -> Fault | None:
    try:
        check(line)
    except RecursionError:
        return Fault(pointer(index), "Nested too deeply.")
    except msgspec.DecodeError as error:
        return Fault(pointer(index), f"{error}.")
    return None


def _good_lines(lines: list[bytes], rejected: Rejected, *, first: int) -> list[bytes]:
    """Return the lines that are objects; the others are rejected. `first` is the first's index."""
    good = []
    for index, line in enumerate(lines, first):
        fault = _line_fault(line, _value, index=index) or _line_fault(line, _object, index=index)
        if fault is None:
            good.append(line)
        else:
            rejected.add(index, [fault])
    return good
