"""Bodies that are accepted: the forms of a collection, its text as sent, its media types."""

import json

import pytest

from app.http.problems import UnsupportedType
from app.ingest.formats import json_format
from app.ingest.formats.collection import PART_BYTES, Collection
from app.ingest.formats.decoding import ACCEPT, decode
from tests.unit.ingest.samples import (
    from_json,
    from_ndjson,
)


def test_a_bare_array() -> None:
    """An array of objects is a collection without version and token."""
    assert from_json(b'[{"a":1},{"b":2}]') == Collection(b'{"a":1}\n{"b":2}\n', 2)


@pytest.mark.parametrize("name", ["payloads", "data"])
def test_an_envelope(name: str) -> None:
    """An object carries its payloads as `payloads` or `data`, beside a version and a token."""
    body = json.dumps({"version": "1", name: [{"a": 1}, {}], "token": "t"}).encode()
    assert from_json(body) == Collection(b'{"a": 1}\n{}\n', 2, f"/{name}", "1", "t")


def test_version_and_token_may_be_null_or_empty() -> None:
    """Null counts as absent; an empty string is a string."""
    collection = from_json(b'{"version":null,"token":"","payloads":[{}]}')
    assert (collection.version, collection.token) == (None, "")


def test_an_envelope_with_escaped_names() -> None:
    """A name means the same however it is spelled."""
    collection = from_json(rb'{"p\u0061yloads":[{"a":1}],"\u0076ersion":"\u0031"}')
    assert collection == Collection(b'{"a":1}\n', 1, "/payloads", "1")


def test_ndjson() -> None:
    """NDJSON is an object a line; the last newline may be missing."""
    for body in (b'{"a":1}\n{"b":2}\n', b'{"a":1}\n{"b":2}'):
        assert from_ndjson(body) == Collection(b'{"a":1}\n{"b":2}\n', 2)


def test_ndjson_with_blank_lines_and_carriage_returns() -> None:
    """Blank lines are skipped, and carriage returns are no part of a payload."""
    body = b'\n{"a":1}\r\n\r\n \t\n{"b":\r2}\n\n'
    assert from_ndjson(body) == Collection(b'{"a":1}\n{"b":2}\n', 2)


def test_ndjson_larger_than_a_part() -> None:
    """A large body is read in parts, and none of its lines is lost or torn at a seam."""
    lines = [b'{"i":%d}\n' % i for i in range(3 * PART_BYTES // 8)]
    assert from_ndjson(b"".join(lines)) == Collection(b"".join(lines), len(lines))


@pytest.mark.parametrize("media_type", ["application/ndjson", "application/jsonl"])
def test_other_names_of_ndjson(media_type: str) -> None:
    """NDJSON goes by other names, too."""
    assert decode(b"{}\n{}", content_type=media_type).count == 2


@pytest.mark.parametrize("space", [b" ", b"\t", b"\n", b"\r\n", b" \n \n"])
def test_space_around_a_body_is_nothing(space: bytes) -> None:
    """White space before and after a JSON body is skipped."""
    assert from_json(space + b'[{"a":1}]' + space).lines == b'{"a":1}\n'


@pytest.mark.parametrize(
    "body",
    [
        b'[{"a":1},{"b":2}]',
        b'{"payloads":[{"a":1}]}',
        b'{"version":"1","data":[{}],"token":null}',
        '{"token":"é","payloads":[{}],"version":""}'.encode(),
    ],
)
def test_a_compact_body_is_looked_at_once(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Where no member can hide, the names are not read a second time."""
    monkeypatch.setattr(json_format, "_members", None)
    assert from_json(body + b"\n").count >= 1


@pytest.mark.parametrize(
    "token",
    [
        b"1.0",
        b"1e999",
        b"-0",
        b"1E+2",
        b"0.1000000000000000055511151231257827",
        b"12345678901234567890123",
        b"9007199254740993",
        b"1" * 5000,
        rb'"\u00e9"',
        '"é"'.encode(),
        rb'"\ud83d\ude00"',
        rb'"\/"',
        rb'"\u0000"',
        rb'"a\nb"',
        b'"  "',
        b"true",
        b"null",
    ],
)
@pytest.mark.parametrize("layout", [b'{"k":%s}', b'{"k":[%s,{"k":%s}]}'])
def test_numbers_and_strings_stay_as_sent(token: bytes, layout: bytes) -> None:
    """No way through the decoder changes a byte of a number or a string."""
    payload = layout.replace(b"%s", token)
    pretty = payload.replace(b":", b" :\r\n\t").replace(b",", b"\n,").replace(b"}", b"\n}")
    for body in (
        b"[" + payload.replace(b":", b"\r:") + b"]",
        b"[" + payload + b"]",
        b"[" + pretty + b"]",
        b'{"payloads":[' + payload + b"]}",
        b'{"token": "t", "payloads": [\n' + pretty + b"\n]}\n",
    ):
        assert from_json(body).lines == payload + b"\n"
    assert from_ndjson(payload).lines == payload + b"\n"


def test_repeated_members_of_a_payload_are_kept() -> None:
    """What a payload holds is the client's business, twice the same name included."""
    assert from_json(b'[{"a":1,"a":2}]').lines == b'{"a":1,"a":2}\n'


def test_a_byte_order_mark_is_ignored() -> None:
    """RFC 8259 section 8.1 lets a parser ignore a byte order mark."""
    assert from_json(b'\xef\xbb\xbf[{"a":1}]').lines == b'{"a":1}\n'
    assert from_ndjson(b'\xef\xbb\xbf{"a":1}').lines == b'{"a":1}\n'


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json; charset=us-ascii; profile=x",
        "application/json; charset=iso-8859-1",
        "application/json;",
    ],
)
def test_content_types_accepted(content_type: str) -> None:
    """Parameters and case make no difference; a body is UTF-8 under any charset."""
    assert decode(b"[{}]", content_type=content_type).count == 1


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/jsonx",
        "application/x-www-form-urlencoded",
    ],
)
def test_content_types_refused(content_type: str) -> None:
    """Any other type, or none, is a 415 that says which would do."""
    with pytest.raises(UnsupportedType) as refusal:
        decode(b"[{}]", content_type=content_type)
    assert refusal.value.headers == {"Accept": ACCEPT}
