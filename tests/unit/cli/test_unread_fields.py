"""Fields of the key template that no payload can fill in: what `flask check` warns of."""

from pathlib import Path

import pytest
from marshmallow import INCLUDE, Schema, fields

from app.cli.unread_fields import unread_fields
from tests.support.bench import settings_for


class Geo(Schema):
    """An object in the payload."""

    city = fields.String(data_key="town")


class Open(Schema):
    """Members that it does not name are allowed."""

    class Meta:
        unknown = INCLUDE

    geo = fields.Nested(Geo)


class Strict(Schema):
    """Only these members are allowed."""

    at = fields.Integer()
    country = fields.String()
    geo = fields.Nested(Geo)
    places = fields.List(fields.Nested(Geo))
    many = fields.Nested(Geo, many=True)
    more = fields.Dict()
    anything = fields.Raw()


def warnings(tmp_path: Path, field: str, schema: type[Schema] | None, **environ: str) -> list[str]:
    """Return the sentences about a template with one field."""
    template = f"x/{{{field}}}/{{segment}}"
    path = {} if schema is None else {"PAYLOAD_SCHEMA": f"{__name__}:{schema.__name__}"}
    return list(unread_fields(settings_for(tmp_path, KEY_TEMPLATE=template, **path, **environ)))


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("payload.town", "no member 'town'"),
        ("payload.geo.city", "no member 'city'"),
        ("payload.geo.town.x", "'town' is no object"),
        ("payload.country.code", "'country' is no object"),
        ("payload.geo", "'geo' is an object"),
        ("payload.places", "'places' is an object or an array"),
        ("payload.more", "'more' is an object"),
    ],
)
def test_what_a_schema_rules_out_is_named(tmp_path: Path, field: str, words: str) -> None:
    """With the field as it is in the template."""
    [sentence] = warnings(tmp_path, field, Strict)
    assert sentence.startswith(f"{{{field}}} is always")
    assert words in sentence


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        ("payload.country", Strict),
        ("payload.geo.town", Strict),
        ("payload.more.x", Strict),
        ("payload.anything", Strict),
        ("payload.anything.x", Strict),
        ("payload.x.y", Open),
        ("payload.x", None),
    ],
)
def test_what_may_be_there_is_not(tmp_path: Path, field: str, schema: type[Schema] | None) -> None:
    """Nor anything where there is no schema."""
    assert warnings(tmp_path, field, schema) == []


def test_the_time_of_an_event_is_looked_for_too(tmp_path: Path) -> None:
    """Where it cannot be, and where it has no use."""
    assert warnings(tmp_path, "event_date", Strict, EVENT_TIME="/at") == []
    [nowhere] = warnings(tmp_path, "event_hour", Strict, EVENT_TIME="/geo/at")
    assert nowhere.startswith("EVENT_TIME finds no time")
    [unused] = warnings(tmp_path, "payload.country", Strict, EVENT_TIME="/at")
    assert unused.startswith("EVENT_TIME has no use")
