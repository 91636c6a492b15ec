"""Which requests are of a page that may not post, though no preflight kept it from doing so."""

import pytest

from app.access import cors
from app.access.credentials import Forbidden
from app.access.rules import Cors, StreamPatterns
from app.ingest.arrival import Arrival
from app.ingest.ways import Way
from tests.unit.ingest.samples import Head

SHOP, OTHER = "https://shop.example", "https://other.example"
CORS = Cors(origins=frozenset({SHOP}), streams=StreamPatterns(("*",)), max_age_seconds=1)
TEXT = {"content-type": "Text/Plain;charset=UTF-8"}


def arrival(headers: dict[str, str], rules: Cors | None = CORS) -> Arrival:
    """Make a request to /events arrive."""
    found = cors.headers(rules, origin=headers.get("origin"), stream="web")
    return Arrival(way=Way("web", is_events=True), head=Head(headers), cors=found)


@pytest.mark.parametrize(
    "headers",
    [
        TEXT,
        {**TEXT, "origin": SHOP, "sec-fetch-site": "cross-site"},
        {"origin": OTHER, "content-type": "application/json"},
        {**TEXT, "origin": OTHER, "sec-fetch-site": "same-origin"},
        {**TEXT, "origin": OTHER, "host": "other.example"},
    ],
)
def test_what_may_post(headers: dict[str, str]) -> None:
    """No page, one that is allowed, one whose preflight was asked for, one of the same origin."""
    arrival(headers).check_origin()


@pytest.mark.parametrize("rules", [CORS, None])
@pytest.mark.parametrize(
    "headers",
    [
        {**TEXT, "origin": OTHER},
        {"origin": OTHER},
        {**TEXT, "origin": "null", "sec-fetch-site": "cross-site"},
        {**TEXT, "origin": OTHER, "host": "other.example", "sec-fetch-site": "same-site"},
        {"origin": OTHER, "content-type": "application/x-www-form-urlencoded"},
        {"origin": OTHER, "content-type": "multipart/form-data; boundary=x"},
        {**TEXT, "origin": OTHER, "host": "shop.example"},
    ],
)
def test_what_may_not_post(headers: dict[str, str], rules: Cors | None) -> None:
    """A page of another origin that sends what needs no preflight, with CORS or without."""
    with pytest.raises(Forbidden):
        arrival(headers, rules).check_origin()
