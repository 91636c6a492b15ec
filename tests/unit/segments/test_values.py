"""Values of payloads as text in a key: they stay in their path segment, and can be read back."""

import json
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.segments import values
from workers.segments.values import MAX_CACHED_BYTES, NO_VALUE, escape, text_of

# Text as clients send it: any but half pairs of surrogates, which are read as U+FFFD before.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"DE"', "DE"),
        ('"a b/c=d:e%f+g"', "a%20b%2Fc%3Dd%3Ae%25f%2Bg"),
        ('"é\\u00e9\\ud83d\\ude00"', "%C3%A9%C3%A9%F0%9F%98%80"),
        ('"\\u0000\\n"', "%00%0A"),
        ('"."', "%2E"),
        ('".."', "%2E%2E"),
        ('"..."', "..."),
        ('"~a-b_c.d"', "~a-b_c.d"),
        ('""', NO_VALUE),
        (f'"{NO_VALUE}"', "%5F" + NO_VALUE[1:]),
        ("0", "0"),
        ("-0", "-0"),
        ("1.0", "1.0"),
        ("1e5", "1e5"),
        ("1E+5", "1E%2B5"),
        ("9" * 400, "9" * 128),
        ("true", "true"),
        ("false", "false"),
        ("null", NO_VALUE),
        ("{}", NO_VALUE),
        ("[1]", NO_VALUE),
    ],
)
def test_values_have_these_texts(value: str, text: str) -> None:
    """Strings, numbers and booleans by their text; what has none is Hive's default partition."""
    assert text_of(value.encode()) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a" * 129, "a" * 128),
        ("/" * 50, "%2F" * 42),
        ("a" + "/" * 50, "a" + "%2F" * 42),
        ("é" * 30, "%C3%A9" * 21),
        ("aaa" + "😀" * 11, "aaa" + "%F0%9F%98%80" * 10),
        ("a" * 127 + "é", "a" * 127),
        (".." + "a" * 200, ".." + "a" * 126),
    ],
)
def test_long_values_are_cut_between_characters(value: str, text: str) -> None:
    """Neither inside an escape, nor between the escapes of one character."""
    assert escape(value) == text


@settings(deadline=None)
@given(TEXTS)
@example("a" * 117 + "é" * 3)
def test_no_text_leaves_its_segment(text: str) -> None:
    """Property: one path segment of at most 128 harmless bytes, from which readers get it back."""
    escaped = escape(text)
    assert 1 <= len(escaped) <= 128
    assert escaped not in {".", ".."}
    assert not set(escaped) & set("/=\\?#:*\"' ")
    assert escaped.isascii()
    assert escaped.isprintable()
    back = unquote(escaped, errors="strict")
    assert back == text if len(escaped) < 117 and text else text.startswith(back) or not text
    assert (escaped == NO_VALUE) == (not text)


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=2, max_size=2, unique=True))
@example([NO_VALUE, ""])
@example([".", "%2E"])
@example(["..", "%2E%2E"])
@example(["a/b", "a%2Fb"])
def test_two_texts_collide_only_where_they_are_cut(texts: list[str]) -> None:
    """Property: other texts are other partitions, unless both begin with the same 117 bytes."""
    first, second = map(escape, texts)
    assert first != second or len(first) > 128 - len("%F0%9F%98%80")


@settings(deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=3,
))  # fmt: skip
def test_any_json_value_has_a_text(value: object) -> None:
    """Property: however it is written, with escapes or without; the cache changes nothing."""
    spellings = [json.dumps(value).encode(), msgspec.json.encode(value)]
    texts = list(map(text_of, spellings))
    assert texts == list(map(text_of, spellings))
    if isinstance(value, str):
        assert len(set(texts)) == 1


def test_long_values_are_not_cached() -> None:
    """A client cannot fill the memory with them."""
    long = b'"%b"' % (b"x" * MAX_CACHED_BYTES)
    before = len(values._cached)
    assert text_of(long) == "x" * 128
    assert len(values._cached) == before
