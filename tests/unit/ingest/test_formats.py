"""From a request's bytes to payload lines: what is accepted, what is refused, and what is said."""

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from marshmallow import Schema, fields

from app.http.problems import Fault, NotJson, Problem, TooLarge, UnsupportedType, WrongShape
from app.ingest import formats as decoding
from app.ingest import json_format
from app.ingest.collection import PART_BYTES, Collection
from app.ingest.formats import ACCEPT, MAX_COMMAS, decode
from app.ingest.schemas import MAX_TOKEN, MAX_VERSION, EnvelopeSchema

JSON, NDJSON = "application/json", "application/x-ndjson"
DEEP = 100_000


class OneSchema(Schema):
    """What an operator might plug in."""

    a = fields.Integer(required=True)


def pointers(refusal: pytest.ExceptionInfo[Problem]) -> list[str]:
    """Return where the faults of a refusal are."""
    return [fault.pointer for fault in refusal.value.errors]


def from_json(body: bytes) -> Collection:
    """Decode JSON without a schema."""
    return decode(body, content_type=JSON)


def from_ndjson(body: bytes) -> Collection:
    """Decode NDJSON without a schema."""
    return decode(body, content_type=NDJSON)


# The forms of a collection


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


# Bytes stay as sent


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
    """No road through the decoder touches a byte of a number or a string."""
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


# Media types


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
    """Parameters and case make no difference; a body is UTF-8 whatever its charset says."""
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


# Not JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n ",
        b"[{}",
        b"[{}]x",
        b"[{}],",
        b"[{},]",
        b"[{}{}]",
        b"[1\n2]",
        b'[{"a":1,}]',
        b'[{"a":01}]',
        b'[{"a":NaN}]',
        b'[{"a":Infinity}]',
        b'[{"a":"\n"}]',
        b'[{"a":"\\q"}]',
        b"[{'a':1}]",
        b"[{1:1}]",
        b"{}\n{}",
        b'{"payloads":[{}]',
        b'{"version":3,"payloads":[{}],}',
        b'{"unknown":1,]',
        b"nul",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Bytes that are not JSON are a 400, also behind something else that is wrong."""
    with pytest.raises(NotJson):
        from_json(body)


def test_the_byte_at_fault_is_named() -> None:
    """The detail says where JSON ends, and repeats nothing of the body."""
    with pytest.raises(NotJson, match=r"\(byte 14\)") as refusal:
        from_json(b'[{"secret":1},]')
    assert "secret" not in refusal.value.detail


@pytest.mark.parametrize("content_type", [JSON, NDJSON])
@pytest.mark.parametrize("padding", [0, 3 * PART_BYTES - 1])
@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x82"])
def test_what_is_not_utf8_is_refused(content_type: str, padding: int, bad: bytes) -> None:
    """Invalid UTF-8 is a 400 that names the byte, however far into the body it is."""
    prefix = b'{"k":"' + b"x" * padding
    body = prefix + bad + b'"}'
    with pytest.raises(NotJson, match=rf"not UTF-8 \(byte {len(prefix)}\)"):
        decode(body, content_type=content_type)


def test_utf8_across_a_seam_is_whole() -> None:
    """A character that lies across two parts of a large body is no error."""
    body = b'[{"k":"' + "é€😀".encode() * PART_BYTES + b'"}]'
    for shift in range(9):
        assert from_json(b" " * shift + body).count == 1


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'[{"a":' + b"[" * DEEP + b"]" * DEEP + b"}]",
        b'[\n{"a":' + b"[" * DEEP + b"]" * DEEP + b"}]",
        b'{"payloads":[{"a":' + b'{"a":' * DEEP,
        b'{"unknown":' + b"[" * DEEP,
        b'{"version":' + b"[" * DEEP,
    ],
)
def test_deep_nesting_is_refused(body: bytes) -> None:
    """A hundred thousand levels are a 400, not a crash."""
    with pytest.raises(NotJson, match="nested too deeply"):
        from_json(body)


def test_deep_nesting_in_a_line_is_refused() -> None:
    """The same in NDJSON, where the line is named."""
    with pytest.raises(NotJson) as refusal:
        from_ndjson(b'{}\n{"a":' + b"[" * DEEP + b"]" * DEEP + b"}\n")
    assert refusal.value.errors == (Fault("/1", "Nested too deeply."),)


def test_lines_that_are_not_json_are_named() -> None:
    """Every line that is not one whole JSON value is named by its index among the payloads."""
    with pytest.raises(NotJson) as refusal:
        from_ndjson(b'{}\n\n{"a":\n1}\n{} {}\n{},\n[]\n{}\n')
    assert pointers(refusal) == ["/1", "/2", "/3", "/4"]


# The wrong shape


@pytest.mark.parametrize("body", [b"1", b'"payloads"', b"null", b" true "])
def test_neither_array_nor_object(body: bytes) -> None:
    """A body that is neither array nor object is a 422."""
    with pytest.raises(WrongShape, match="array of objects"):
        from_json(body)


@pytest.mark.parametrize("body", [b"[]", b"[ ]", b'{"payloads":[]}', b'{"data":[\n]}'])
def test_an_empty_collection_is_refused(body: bytes) -> None:
    """A collection without payloads is a 422: there is nothing to promise."""
    with pytest.raises(WrongShape, match="no payloads"):
        from_json(body)


@pytest.mark.parametrize("body", [b"", b"\n\n", b" \r\n"])
def test_empty_ndjson_is_refused(body: bytes) -> None:
    """The same in NDJSON."""
    with pytest.raises(WrongShape, match="no payloads"):
        from_ndjson(body)


@pytest.mark.parametrize(
    ("body", "prefix"),
    [
        (b"[%s]", ""),
        (b'{"payloads":[%s]}', "/payloads"),
        (b'{"data": [ %s ]\n}', "/data"),
    ],
)
def test_payloads_that_are_no_objects_are_named(body: bytes, prefix: str) -> None:
    """Each payload that is not an object is named by its index in the client's own array."""
    items = b'{},1,{"a":[]},[{}],"{",null,{}'
    with pytest.raises(WrongShape) as refusal:
        from_json(body.replace(b"%s", items))
    assert pointers(refusal) == [f"{prefix}/{index}" for index in (1, 3, 4, 5)]


def test_lines_that_are_no_objects_are_named() -> None:
    """Each line that is JSON but not an object is named."""
    with pytest.raises(WrongShape) as refusal:
        from_ndjson(b'{}\n1\n\n[{}]\n{}\n"{"\n')
    assert pointers(refusal) == ["/1", "/2", "/4"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", [""]),
        (b'{"version":"1"}', [""]),
        (b'{"payloads":[{}],"data":[{}]}', [""]),
        (b'{"payloads":{"a":1}}', ["/payloads"]),
        (b'{"payloads":null}', ["/payloads"]),
        (b'{"payloads":"x"}', ["/payloads"]),
        (b'{"payloads":[{}],"version":1}', ["/version"]),
        (b'{"payloads":[{}],"version":["x"],"token":{}}', ["/version", "/token"]),
        (b'{"payloads":[{}],"extra":1}', ["/extra"]),
        (b'{"payloads":[{}],"a/b~c":[1],"version":true}', ["/version", "/a~1b~0c"]),
        (b'{"payloads":[{}],"":1}', ["/"]),
    ],
)
def test_a_wrong_envelope_is_explained(body: bytes, expected: list[str]) -> None:
    """Everything that is wrong with an envelope is named; unknown members are not ignored."""
    with pytest.raises(WrongShape) as refusal:
        from_json(body)
    assert pointers(refusal) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"payloads":[{}],"payloads":[{}]}', ["/payloads"]),
        (b'{"payloads":[{"a":1}],"payloads":[]}', ["/payloads"]),
        (rb'{"payloads":[{}],"p\u0061yloads":[{}]}', ["/payloads"]),
        (rb'{"\u0064ata":[{}],"dat\u0061":[{}]}', ["/data"]),
        (b'{"version":"1","version":"1","payloads":[{}]}', ["/version"]),
        (b'{"token":null,"payloads":[{}],"token":null}', ["/token"]),
        (b'{"x":1,"x":2,"payloads":[{}]}', ["/x", "/x"]),
    ],
)
def test_repeated_members_of_an_envelope_are_refused(body: bytes, expected: list[str]) -> None:
    """A member twice is a 422, however spelled: one of the two would be dropped silently."""
    with pytest.raises(WrongShape) as refusal:
        from_json(body)
    assert pointers(refusal) == expected


def test_more_members_than_make_sense_are_refused() -> None:
    """A million members of an envelope are not collected to be named."""
    body = b"{" + b",".join(b'"%d":0' % i for i in range(MAX_COMMAS)) + b"}"
    tracemalloc.start()
    try:
        with pytest.raises(WrongShape, match="too many members"):
            from_json(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(body)


TEXTS: list[Any] = ["", "v", "é" * MAX_VERSION, "v" * (MAX_VERSION + 1), "v" * (MAX_TOKEN + 1)]
VALUES: list[Any] = [*TEXTS, None, 1, True, [], {}, [{}]]


@pytest.mark.parametrize("name", ["version", "token", "payloads", "data", "other"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("array", [{}, {"payloads": [{}]}, {"data": [{}]}], ids=repr)
def test_gate_and_schema_agree(name: str, value: Any, array: dict[str, Any]) -> None:
    """What msgspec lets pass is what marshmallow's EnvelopeSchema lets pass."""
    envelope = {name: value, **array}
    try:
        count = from_json(msgspec.json.encode(envelope)).count
    except WrongShape as refusal:
        accepted = refusal.detail == "There are no payloads."
    else:
        accepted = count == 1
    assert accepted == (not EnvelopeSchema().validate(envelope))


# Bounds


def test_a_large_array_of_next_to_nothing_is_refused() -> None:
    """An array of millions of tiny values is refused before it is taken apart."""
    body = b"[" + b"1," * (2 * MAX_COMMAS) + b"1]"
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="commas"):
            from_json(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(body)


def test_as_many_commas_as_allowed() -> None:
    """The bound on commas is the last number accepted, and counts in one payload, too."""
    payload = b'{"a":[' + b"1," * MAX_COMMAS + b"1]}"
    assert from_json(b"[" + payload + b"]").lines == payload + b"\n"
    with pytest.raises(TooLarge):
        from_json(b"[{}," + payload + b"]")


def test_as_many_payloads_as_allowed_cost_little() -> None:
    """A million tiny payloads in an array take no more than a slice each, beside their bytes."""
    body = b"[" + b'{"a":1},' * MAX_COMMAS + b"{}]"
    tracemalloc.start()
    try:
        assert from_json(body).lines == b'{"a":1}\n' * MAX_COMMAS + b"{}\n"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 90 * MAX_COMMAS + 3 * len(body)


def test_commas_in_lines_are_free() -> None:
    """NDJSON is read in parts, so only a schema, which builds a payload, bounds its commas."""
    payload = b'{"a":[' + b"1," * (MAX_COMMAS + 1) + b"1]}"
    assert from_ndjson(payload).count == 1
    with pytest.raises(TooLarge):
        decode(payload, content_type=NDJSON, schema=OneSchema())


def test_many_small_lines_cost_little() -> None:
    """A million tiny lines take no more than a few times their own size while they are read."""
    body = b"{}\n" * 1_000_000
    tracemalloc.start()
    try:
        assert from_ndjson(body).count == 1_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(body) + 40 * PART_BYTES


# With a schema


@pytest.mark.parametrize(
    ("content_type", "body", "prefix"),
    [
        (JSON, b'[{"a":1},{"a":"x"},{"a":2},{"b":0}]', ""),
        (JSON, b'{"payloads":[{"a":1},{"a":"x"},{"a":2},{"b":0}]}', "/payloads"),
        (JSON, b'{"data":[\n{"a":1},{"a":"x"},{"a":2},{"b":0}]}', "/data"),
        (NDJSON, b'{"a":1}\n\n{"a":"x"}\r\n{"a":2}\n{"b":0}', ""),
    ],
)
def test_a_schema_names_every_fault(content_type: str, body: bytes, prefix: str) -> None:
    """With a schema every payload is validated, and each fault named where the client put it."""
    with pytest.raises(WrongShape) as refusal:
        decode(body, content_type=content_type, schema=OneSchema())
    assert set(pointers(refusal)) == {f"{prefix}/1/a", f"{prefix}/3/a", f"{prefix}/3/b"}


def test_a_schema_lets_good_payloads_pass_as_sent() -> None:
    """Validation changes nothing: `"1"` is a valid Integer, and stays a string."""
    body = b'[{"a":"1"},{"a":2}]'
    expected = decode(body, content_type=JSON)
    assert decode(body, content_type=JSON, schema=OneSchema()) == expected


def test_a_refusal_repeats_no_values() -> None:
    """Nothing that a client sent as a value comes back in a problem."""
    for body in (
        b'[{"a":"SECRET"}]',
        b'["SECRET"]',
        b'{"version":["SECRET"],"payloads":[{}]}',
        b'{"x":"SECRET"}',
        b'[{"a":"SECRET}]',
    ):
        with pytest.raises(Problem) as refusal:
            decode(body, content_type=JSON, schema=OneSchema())
        assert b"SECRET" not in refusal.value.body()


def test_many_content_types_are_not_remembered_for_ever() -> None:
    """Clients choose content types, so only so many are kept."""
    for number in range(1000):
        decode(b"[{}]", content_type=f"{JSON}; n={number}")
    assert decoding._reader.cache_info().currsize <= 64
