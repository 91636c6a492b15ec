"""Bodies that are refused, and what the client learns of each fault."""

import pytest

from app.http.problems import Fault, NotJson, Problem, WrongShape
from app.ingest.formats.collection import PART_BYTES
from app.ingest.formats.decoding import decode
from tests.unit.ingest.samples import (
    DEEP,
    JSON,
    NDJSON,
    OneSchema,
    from_json,
    from_ndjson,
    pointers,
)


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


@pytest.mark.parametrize("payload", [b"1", b'"{}"', b"[{}]", b"null", b"true"])
@pytest.mark.parametrize(("form", "prefix"), [(b"[%b]", ""), (b'{"payloads":[%b]}', "/payloads")])
def test_a_lone_payload_that_is_no_object_is_named(
    payload: bytes, form: bytes, prefix: str
) -> None:
    """A collection of one payload, which is read by itself, has its payload checked as well."""
    with pytest.raises(WrongShape) as refusal:
        from_json(form % payload)
    assert pointers(refusal) == [f"{prefix}/0"]


def test_lines_that_are_no_objects_are_named() -> None:
    """Each line that is JSON but not an object is named."""
    with pytest.raises(WrongShape) as refusal:
        from_ndjson(b'{}\n1\n\n[{}]\n{}\n"{"\n')
    assert pointers(refusal) == ["/1", "/2", "/4"]


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
