"""Keys in requests: where they may be, and what their holders may do."""

import base64
from datetime import UTC, date, datetime

import pytest

from app.access import cors, credentials
from app.access.credentials import (
    Forbidden,
    Unauthorized,
    check,
    digest,
    find_key,
)
from app.access.rules import Cors, Key, Rules, StreamPatterns


def key(name: str = "k", scope: str = "write", *patterns: str, url: bool = False) -> Key:
    """Return a key for some streams, all by default."""
    return Key(name=name, scope=scope, streams=StreamPatterns(patterns or ("*",)), url=url)


RULES = Rules(keys={digest("plain"): key("plain"), digest("page"): key("page", url=True)})


def found(query: str = "", **headers: str) -> str | None:
    """Return the name of the key in a request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    key = find_key(RULES, header=named.get, query=query)
    return key.name if key else None


def basic(text: str) -> str:
    """Return an HTTP Basic credential."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer plain"},
        {"authorization": "bearer  plain"},
        {"authorization": basic("plain:")},
        {"authorization": basic("user:plain")},
        {"x_api_key": "plain"},
    ],
)
def test_a_key_may_come_in_any_of_the_usual_ways(headers: dict[str, str]) -> None:
    """Bearer, Basic as user name or password, and X-API-Key carry the same key."""
    assert found(**headers) == "plain"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer other"},
        {"authorization": "Bearer plain,Bearer plain"},
        {"authorization": "Bearer " + "x" * 100_000},
        {"authorization": "Basic %%%"},
        {"authorization": basic(":")},
        {"authorization": "Digest plain"},
        {"authorization": ""},
        {"authorization": "Bearer other", "x_api_key": "plain"},
        {"x_api_key": ""},
        {"query": "key=other"},
    ],
)
def test_what_is_no_known_key_is_401(headers: dict[str, str]) -> None:
    """Unknown, doubled, oversized and malformed credentials are refused with the scheme to use."""
    with pytest.raises(Unauthorized) as caught:
        found(**headers)
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"] == "Bearer"


def test_a_url_carries_only_keys_that_may() -> None:
    """A key comes in the URL only where `url` allows it; a header wins over the URL."""
    assert found(query="a=1&key=page") == "page"
    assert found(query="key=page", x_api_key="plain") == "plain"
    assert found(query="monkey=page") is None
    with pytest.raises(Unauthorized, match="may not come in a URL"):
        found(query="key=plain")


def test_a_key_allows_its_scope_and_streams() -> None:
    """403 says what the key lacks; without a key it is 401."""
    mobile = key("m", "write", "mobile-*")
    assert check(mobile, action="write", stream="mobile-1") is mobile
    with pytest.raises(Forbidden, match="stream"):
        check(mobile, action="write", stream="other")
    with pytest.raises(Forbidden, match="needs `admin`"):
        check(mobile, action="admin", stream=None)
    with pytest.raises(Unauthorized):
        check(None, action="read", stream=None)


def test_a_key_is_valid_through_its_last_day() -> None:
    """A key expires at the end of its last day in UTC."""
    last = Key(name="k", scope="write", streams=StreamPatterns(), expires=date(2027, 6, 30))
    end = datetime(2027, 7, 1, tzinfo=UTC).timestamp()
    check(last, action="write", stream="s", now=end - 1)
    with pytest.raises(Forbidden, match="expired"):
        check(last, action="write", stream="s", now=end)


WEB = Cors(
    origins=frozenset({"https://shop.example"}), streams=StreamPatterns(("web-*",)),
    max_age_seconds=60,
)  # fmt: skip


def test_an_allowed_origin_is_echoed() -> None:
    """A page of an allowed origin may read the response; credentials are allowed."""
    sent = dict(cors.headers(WEB, origin="https://shop.example", stream="web-1"))
    assert sent["Access-Control-Allow-Origin"] == "https://shop.example"
    assert sent["Access-Control-Allow-Credentials"] == "true"
    assert sent["Vary"] == "Origin"
    preflight = dict(cors.preflight(WEB, origin="https://shop.example", stream="web-1"))
    assert preflight["Access-Control-Max-Age"] == "60"


@pytest.mark.parametrize(
    ("origin", "stream"),
    [("https://evil.example", "web-1"), ("null", "web-1"), (None, "web-1"),
     ("https://shop.example", "other")],
)  # fmt: skip
def test_nothing_is_allowed_beyond_the_list(origin: str | None, stream: str) -> None:
    """Another origin, `null`, none, or another stream gets no permission."""
    sent = dict(cors.preflight(WEB, origin=origin, stream=stream))
    assert not any(name.startswith("Access-Control") for name in sent)


def test_any_origin_is_not_the_null_origin() -> None:
    """`*` allows every origin but `null`, which sandboxed pages of anybody have."""
    anyone = Cors(origins=frozenset({"*"}), streams=StreamPatterns(), max_age_seconds=0)
    assert anyone.allows("https://a.example")
    assert not anyone.allows("null")


def test_only_known_keys_are_remembered_and_not_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Headers are kept for keys that are known, and a client that varies them fills no memory."""
    rules = Rules(keys={digest("plain"): key("plain")})
    with pytest.raises(Unauthorized):
        find_key(rules, header={"authorization": "Bearer other"}.get, query="")
    assert not rules.seen
    monkeypatch.setattr(credentials, "MAX_SEEN", 50)
    for number in range(100):
        given = {"authorization": "Bearer" + " " * (number + 1) + "plain"}
        found = find_key(rules, header=given.get, query="")
        assert found is not None
        assert found.name == "plain"
    assert len(rules.seen) == 50
