"""Decoding against the standard library, on bodies that hypothesis generates."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.http.problems import Problem
from app.ingest.formats.collection import Collection
from app.ingest.formats.decoding import decode
from app.ingest.formats.schemas import MAX_TOKEN, MAX_VERSION

JSON, NDJSON = "application/json", "application/x-ndjson"
MEMBERS = {"payloads", "data", "version", "token"}
thorough = settings(max_examples=120, deadline=None)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=4), values, max_size=4)
payload_lists = st.lists(objects, min_size=1, max_size=5)
short_texts = st.none() | st.text(max_size=5)
layouts = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, None, 0, 1, 4, "\t"]),
        "separators": st.sampled_from([None, (",", ":"), (", ", ": "), ("\r,", ":\n")]),
        "ensure_ascii": st.booleans(),
    }
)


class Object(tuple[tuple[str, Any], ...]):
    """A JSON object as its members in order, repeated ones too, and unequal to any array."""

    __slots__ = ()


def no_constant(name: str) -> None:
    """Refuse NaN and the infinities, which are not JSON."""
    raise ValueError(name)


def parse(text: str) -> Any:
    """Parse as the standard library does, keeping repeated members."""
    return json.loads(text, parse_constant=no_constant, object_pairs_hook=Object)


def stored(collection: Collection) -> list[Any]:
    """Parse what would be stored, line by line; also check that there is one line per payload."""
    assert collection.lines.endswith(b"\n")
    assert b"\r" not in collection.lines
    lines = collection.lines[:-1].split(b"\n")
    assert len(lines) == collection.count
    return [parse(line.decode()) for line in lines]


def is_label(value: Any, longest: int) -> bool:
    """Say whether a version or a token may have this value."""
    return value is None or (isinstance(value, str) and len(value) <= longest)


def expected(body: bytes) -> tuple[Any, ...] | None:
    """Say by the contract what a JSON body holds, or None if it has to be refused."""
    try:
        top = parse(body.decode("utf-8-sig"))
    except ValueError:
        return None
    members: dict[str, Any] = {"payloads": top}
    if isinstance(top, Object):
        members = dict(top)
        if len(members) < len(top) or not MEMBERS.issuperset(members):
            return None
    arrays = [members[name] for name in ("payloads", "data") if name in members]
    version, token = members.get("version"), members.get("token")
    if len(arrays) != 1 or not is_label(version, MAX_VERSION) or not is_label(token, MAX_TOKEN):
        return None
    return (arrays[0], version, token) if are_payloads(arrays[0]) else None


def expected_lines(body: bytes) -> tuple[Any, ...] | None:
    """Say by the contract what an NDJSON body holds, or None if it has to be refused."""
    try:
        lines = body.decode("utf-8-sig").split("\n")
        payloads = [parse(line) for line in lines if line.strip(" \t\r\v\f")]
    except ValueError:
        return None
    return (payloads, None, None) if are_payloads(payloads) else None


def are_payloads(value: Any) -> bool:
    """Say whether this is a list of objects, and not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, Object) for v in value)


def decoded(body: bytes, content_type: str) -> tuple[Any, ...] | None:
    """Decode, and return what was understood, or None if it was refused as a problem."""
    try:
        collection = decode(body, content_type=content_type)
    except Problem:
        return None
    return stored(collection), collection.version, collection.token


def check(body: bytes, content_type: str) -> None:
    """Check that a body is taken for what it is, or refused when it has to be."""
    found = decoded(body, content_type)
    # a lone surrogate is the one thing that the standard library takes and we do not
    if found is not None or b"\\ud" not in body.lower():
        assert found == (expected(body) if content_type == JSON else expected_lines(body))


@st.composite
def names(draw: st.DrawFn) -> str:
    """Draw a member's name as it stands in JSON, perhaps with a letter escaped."""
    name = draw(st.sampled_from([*sorted(MEMBERS), "payloads", "other"]))
    at = draw(st.none() | st.integers(0, len(name) - 1))
    if at is None:
        return f'"{name}"'
    return f'"{name[:at]}\\u{ord(name[at]):04x}{name[at + 1 :]}"'


@st.composite
def envelopes(draw: st.DrawFn) -> bytes:
    """Draw an envelope, right or wrong: members repeated, missing, unknown, of other types."""
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", "\n:")]))
    arrays = payload_lists | st.lists(values, max_size=3)
    members = []
    for name in draw(st.lists(names(), max_size=4)):
        value = draw(arrays if "a" in name else short_texts | values)
        members.append(name + colon + json.dumps(value, separators=(comma, colon)))
    return ("{" + comma.join(members) + "}").encode()


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw a valid JSON body in any layout."""
    top: Any = draw(payload_lists)
    if draw(st.booleans()):
        top = {draw(st.sampled_from(["payloads", "data"])): top}
        labels = st.dictionaries(st.sampled_from(["version", "token"]), short_texts)
        top = dict(draw(st.permutations([*top.items(), *draw(labels).items()])))
    space = st.text(" \t\r\n", max_size=2)
    layout: dict[str, Any] = draw(layouts)
    text: str = draw(space) + json.dumps(top, **layout) + draw(space)
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))


@st.composite
def line_bodies(draw: st.DrawFn) -> bytes:
    """Draw a valid NDJSON body, with blank lines and either kind of newline."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    separators = draw(st.sampled_from([None, (",", ":"), ("\r,", ": ")]))
    ascii_only = draw(st.booleans())
    lines = [
        json.dumps(payload, separators=separators, ensure_ascii=ascii_only)
        for payload in draw(payload_lists)
    ]
    for blank in draw(st.lists(st.sampled_from(["", " ", "\t"]), max_size=2)):
        lines.insert(draw(st.integers(0, len(lines))), blank)
    return (newline.join(lines) + draw(st.sampled_from(["", newline]))).encode()


@st.composite
def mutants(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Draw a body with some bytes cut out, doubled or replaced by others."""
    body = draw(originals)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 12)))
        noise = draw(st.binary(max_size=2) | st.text('{}[],:"\\ \r\n01e-.u', max_size=3))
        other = noise.encode() if isinstance(noise, str) else noise
        between = draw(st.sampled_from([b"", body[start:end] * 2, other]))
        body = body[:start] + between + body[end:]
    return body


@thorough
@given(bodies())
def test_json_comes_out_as_it_went_in(body: bytes) -> None:
    """Any valid collection, however laid out, comes out as the same values, a line each."""
    found = decoded(body, JSON)
    assert found is not None
    assert found == expected(body)


@thorough
@given(line_bodies())
def test_ndjson_comes_out_as_it_went_in(body: bytes) -> None:
    """The same for NDJSON."""
    found = decoded(body, NDJSON)
    assert found is not None
    assert found == expected_lines(body)


@thorough
@given(
    payloads=payload_lists,
    ascii_only=st.booleans(),
    form=st.sampled_from(["[%s]", '{"payloads":[%s]}', '{ "data": [%s]}']),
)
def test_payloads_on_one_line_stay_byte_for_byte(
    *, payloads: list[Any], ascii_only: bool, form: str
) -> None:
    """Payloads without a newline in them are stored exactly as they were sent."""
    lines = [json.dumps(payload, ensure_ascii=ascii_only) for payload in payloads]
    body = form.replace("%s", " , ".join(lines)).encode()
    assert decode(body, content_type=JSON).lines == "".join(f"{line}\n" for line in lines).encode()


@thorough
@given(envelopes())
@example(b'{"payloads":[{"a":1}],"payloads":[{}]}')
@example(rb'{"payloads":[{}],"payload\u0073":[{"a":1}]}')
@example(b'{"version":"[{}]","payloads":[{}],"version":"[{}]"}')
@example(b'{"token":null,"token":"null","payloads":[{}]}')
def test_no_member_of_an_envelope_is_dropped(body: bytes) -> None:
    """An envelope is accepted if and only if the contract reads all of it, each member once."""
    check(body, JSON)


@thorough
@given(mutants(bodies() | envelopes()))
@example(b"[1\n2]")
@example(b'[{"a\nb":1}]')
def test_damaged_json_is_read_right_or_refused(body: bytes) -> None:
    """Damaged JSON is a problem, or still JSON and read as what it is now; never another error."""
    check(body, JSON)


@thorough
@given(mutants(line_bodies()))
@example(b'{"a":{}\n{}}{"b":1}\n{}')
@example(b'{"a":\n{}} {"b":1}')
@example(b"{}\x0b\n{}")
def test_damaged_ndjson_is_read_right_or_refused(body: bytes) -> None:
    """The same for NDJSON: no payload over two lines, no line with two payloads."""
    check(body, NDJSON)


@thorough
@given(st.binary(max_size=40))
def test_noise_is_refused(body: bytes) -> None:
    """Random bytes are problems under each media type."""
    check(body, JSON)
    check(body, NDJSON)
