"""The key template: what is a mistake at the start, and what a key comes to."""

from pathlib import Path

import pytest

from tests.support.bench import settings_for
from workers.errors import SettingsError
from workers.segments.key_template import KeyTemplate, pointer_path
from workers.segments.naming import MAX_KEY_BYTES, default_template, segment_name


def test_a_key_has_the_date_of_its_name() -> None:
    """A segment uploaded a year later goes under the hour of its creation (UTC)."""
    name = "20231114T221320123456Z-0123456789abcdef"
    key = KeyTemplate.parse(default_template("gzip")).key("clicks", name)
    assert key == f"clicks/dt=2023-11-14/hour=22/{name}.ndjson.gz"


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_the_default_templates_pass_their_own_check(compression: str) -> None:
    """The defaults are held to the rules for everybody's templates."""
    KeyTemplate.parse(default_template(compression))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{stream}/x", "needs {segment}"),
        ("{segment}/{day}", "unknown field"),
        ("{segment}/{}", "unknown field"),
        ("{segment}/{0}", "unknown field"),
        ("{segment.__class__}", "unknown field"),
        ("{segment:>99}", "no format"),
        ("{segment!r}", "no format"),
        ("{segment", "expected"),
        ("/{segment}", "do not begin"),
        ("{segment}" + "x" * MAX_KEY_BYTES, "at most"),
        ("{segment}" + "ü" * (MAX_KEY_BYTES // 2), "at most"),
        ("x{payload.a}" * 8 + "{segment}", "at most"),
        ("{payload}/{segment}", "unknown field"),
        ("{payload[a]}/{segment}", "unknown field"),
        ("x{payload.}/{segment}", "no member"),
        ("x{payload.a..b}/{segment}", "no member"),
        ("x{payload.a[0]}/{segment}", "no member"),
        ('x{payload.a"}/{segment}', "no member"),
        ("{payload.a}/{segment}", "begins with"),
        ("{event_date}/{segment}", "begins with"),
        ("x\n{segment}", "control"),
        ("_dead/{segment}", "_dead or _watermark"),
        ("_watermark/{stream}/{segment}", "_dead or _watermark"),
        ("_{stream}/{segment}", "_dead or _watermark"),
        ("_{payload.a}d/{segment}", "_dead or _watermark"),
        ("{stream}{payload.a}/{segment}", "_dead or _watermark"),
    ],
)
def test_a_template_that_would_go_wrong_is_refused(template: str, reason: str) -> None:
    """A bad template fails at the start and not at the first upload."""
    with pytest.raises(ValueError, match=reason):
        KeyTemplate.parse(template)


def test_braces_can_be_written_twice() -> None:
    """A literal brace is spelt as in Python's formats."""
    assert KeyTemplate.parse("{{x}}/{segment}").key("s", "n") == "{x}/n"


@pytest.mark.parametrize(
    "template",
    [
        "{stream}/{segment}",
        "{date}/{hour}/{segment}",
        "_dead{stream}/{segment}",
        "_dea{stream}-x/{segment}",
        "_{date}/{segment}",
        "x{payload.a}/{segment}",
        "{stream}{event_date}/{segment}",
        "_{segment}",
    ],
)
def test_what_cannot_be_under_a_reserved_prefix_is_allowed(template: str) -> None:
    """Only a first path segment that may be a reserved name is refused."""
    KeyTemplate.parse(template)


def test_a_key_has_the_values_of_its_partition() -> None:
    """They follow the stream in the order of their fields, each once however often it is used."""
    template = "x/{stream}/c={payload.geo.c}/{payload.geo.c}{event_hour}/{segment}"
    found = KeyTemplate.parse(template)
    assert found.fields == ("payload.geo.c", "event_hour")
    assert found.key("s/DE/07", "name") == "x/s/c=DE/DE07/name"


def test_the_longest_key_is_just_as_long_as_s3_allows() -> None:
    """A template that may come to 1,024 bytes is taken, and to a byte more is not."""
    fixed = "{stream}/{payload.a}/{payload.b}/{event_date}/{event_hour}/{segment}"
    longest = "/".join(["s" * 64, "a" * 128, "b" * 128, "2026-11-26", "00"])
    key = KeyTemplate.parse(fixed).key(longest, segment_name(0))
    padding = "ü" * ((MAX_KEY_BYTES - len(key)) // 2) + "x" * ((MAX_KEY_BYTES - len(key)) % 2)
    widest = KeyTemplate.parse(fixed + padding).key(longest, segment_name(0))
    assert len(widest.encode()) == MAX_KEY_BYTES
    with pytest.raises(ValueError, match="the longest has 1025"):
        KeyTemplate.parse(fixed + padding + "x")


def test_a_pointer_is_a_path() -> None:
    """Escapes of RFC 6901 section 3 are undone."""
    assert pointer_path("/a/b~1c/~0d/") == ("a", "b/c", "~d", "")


@pytest.mark.parametrize("pointer", ["", "a", "a/b", "/a~", "/a~2b", '/a"b', "/a\\b", "/a\nb"])
def test_what_is_no_pointer_to_a_member_is_refused(pointer: str) -> None:
    """The payload itself is no time, and names that msgspec cannot look for are named at once."""
    with pytest.raises(ValueError, match=r"JSON pointer|do not go"):
        pointer_path(pointer)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"KEY_TEMPLATE": "x/{event_date}/{segment}"},
            "KEY_TEMPLATE: {event_date}: set EVENT_TIME",
        ),
        (
            {"KEY_TEMPLATE": "x/{event_hour}/{event_date}/{segment}", "EVENT_TIME": " "},
            "KEY_TEMPLATE: {event_date} and {event_hour}: set EVENT_TIME",
        ),
        ({"EVENT_TIME": "at"}, "EVENT_TIME: it is no JSON pointer"),
        ({"KEY_TEMPLATE": "{payload.a}/{segment}"}, "KEY_TEMPLATE: it begins with"),
        ({"KEY_TEMPLATE": "_dead/{segment}"}, "KEY_TEMPLATE: keys may not be under _dead"),
    ],
)
def test_mistakes_are_named_at_the_start(tmp_path: Path, given: dict[str, str], said: str) -> None:
    """By the setting, with all others."""
    with pytest.raises(SettingsError) as caught:
        settings_for(tmp_path, **given, MAX_QUEUE="0")
    assert f"  {said}" in str(caught.value)
    assert "  MAX_QUEUE: " in str(caught.value)
