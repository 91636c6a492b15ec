"""JSON values one after another: one, many, one a line, or laid out over lines.

For senders that do not know our envelope. Values keep their bytes but for layout between tokens.
"""

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Final

import msgspec
from msgspec import Raw

from app.http.problems import NotJson, TooLarge, WrongShape
from app.ingest.formats.collection import Collection, check_commas, only_objects
from app.ingest.formats.ndjson_format import read_ndjson
from app.ingest.formats.rejected import Rejected

_SPACE: Final = re.compile(r"[ \t\r\n]*")
# Values in a row that are not one a line are split in Python, some microseconds for each.
MAX_IN_A_ROW: Final = 1 << 17
# Only where a value ends is of interest: what is built on the way is thrown away as early as can
# be, and an integer of any length is one.
_scan: Final = JSONDecoder(parse_int=len, parse_float=len, object_pairs_hook=len).raw_decode
_array: Final = msgspec.json.Decoder(list[Raw]).decode
_raw: Final = msgspec.json.Decoder(Raw).decode


def read_values(body: bytes, rejected: Rejected | None = None) -> Collection:
    """Read a body of events: an object is one payload, an array many, values in a row many.

    Raises as every `Reader`.
    """
    body = body.strip()
    if b"\n" in body and body[:1] == b"{":
        # Most that send many objects send one a line: that is checked without a scan in Python.
        try:
            return read_ndjson(body)
        except (NotJson, WrongShape, msgspec.DecodeError):
            pass
    check_commas(body)
    payloads: list[bytes] = []
    for value in split_values(body):
        if value[:1] == b"[":
            payloads += map(bytes, _array(value))
        else:
            payloads.append(value)
    payloads = only_objects(payloads, rejected, at="", detail="Events must be objects.")
    return Collection(b"".join([payload + b"\n" for payload in payloads]), len(payloads))


def split_values(body: bytes) -> Iterator[bytes]:
    """Yield each JSON value of a stripped body of valid UTF-8, without layout. Does not block.

    Raises:
        NotJson, msgspec.DecodeError, RecursionError: what is there is no JSON.
        TooLarge: there are more than `MAX_IN_A_ROW`.
    """
    try:
        yield compact(body)
    except msgspec.DecodeError:
        yield from _split_many(body)


def compact(value: bytes) -> bytes:
    """Return one JSON value without layout; numbers and strings keep their bytes.

    Raises:
        msgspec.DecodeError: it is not JSON.
    """
    if b"\n" in value or b"\r" in value:
        return msgspec.json.format(value, indent=-1)
    _raw(value)
    return value


def _split_many(body: bytes) -> Iterator[bytes]:
    text = body.decode()
    at = count = 0
    while at < len(text):
        count += 1
        if count > MAX_IN_A_ROW:
            raise TooLarge(
                f"There are more than {MAX_IN_A_ROW} values in a row that are not one a line: "
                "send less at once."
            )
        try:
            _, end = _scan(text, at)
        except JSONDecodeError as error:
            raise NotJson(f"The body is not JSON (character {error.pos}).") from error
        # Python's decoder takes `NaN` and the like: what it found is checked again.
        yield compact(text[at:end].encode())
        found = _SPACE.match(text, end)
        at = found.end() if found else end


def elements(array: bytes) -> list[bytes]:
    """Return an array's elements, each as it is.

    Raises:
        TooLarge: there are too many.
    """
    check_commas(array)
    return [bytes(item) for item in _array(array)]
