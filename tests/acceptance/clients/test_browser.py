"""Pages in Chromium that post from another origin: fetch, keepalive, beacons; one not allowed."""

import json
from collections.abc import Iterator

import pytest

from tests.acceptance.access.client import Client
from tests.acceptance.clients import chromium
from tests.acceptance.clients.chromium import Chromium, Page
from tests.acceptance.clients.examples import PAGE_KEY, PLACE, Counted, blocks
from tests.acceptance.clients.pages import Pages
from tests.acceptance.service import each_server
from tests.support import wait_until
from tests.support.s3 import LOOPBACK
from tests.support.tools import needed

FETCH = """
try {
  const response = await fetch(URL_HERE, {method: "POST", body: BODY, headers: HEADERS});
  return {status: response.status, location: response.headers.get("Location"),
          wait: response.headers.get("Retry-After"), text: await response.text()};
} catch (error) { return {failed: error.name}; }
"""
JSON_TYPE = {"Content-Type": "application/json"}


server_mode = each_server(scope="module")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Run one browser for all tests of this file."""
    program = needed(chromium.find(), "chromium")
    with Chromium(program, tmp_path_factory.mktemp("chromium") / "profile") as running:
        yield running


class Site:
    """Opens pages of two origins that know where the service is."""

    def __init__(self, browser: Chromium, pages: Pages, client: Client) -> None:
        self._browser, self._pages = browser, pages
        self.service = f"http://{LOOPBACK}:{client.service.port}"

    def url(self, stream: str, *, path: str = "/events") -> str:
        """Return where a page of this site posts, with its key."""
        return f"{self.service}{path}/{stream}?key={PAGE_KEY}"

    def open(self, *, allowed: bool = True, page: str = "<title>A page</title>") -> Page:
        """Open a page."""
        self._pages.put("/page", page)
        origin = self._pages.allowed if allowed else self._pages.other
        return self._browser.open(origin + "/page")


@pytest.fixture
def site(browser: Chromium, pages: Pages, client: Client) -> Site:
    """Open pages in that browser."""
    return Site(browser, pages, client)


def fetched(page: Page, url: str, body: str, headers: dict[str, str]) -> dict[str, object]:
    """Have a page fetch, and return what it sees."""
    script = FETCH.replace("URL_HERE", json.dumps(url)).replace("BODY", json.dumps(body))
    seen: dict[str, object] = page.run(script.replace("HEADERS", json.dumps(headers)))
    return seen


def test_a_page_posts_and_reads_the_answer(site: Site, counted: Counted) -> None:
    """After a preflight for its JSON, `fetch` delivers, and the page reads receipt and body."""
    seen = fetched(site.open(), site.url("web-fetch"), '{"n":1}', JSON_TYPE)
    assert seen["status"] == 202
    assert str(seen["location"]).startswith("/receipts/")
    assert json.loads(str(seen["text"]))["accepted"] == 1
    assert counted.stored("web-fetch", 1) == [b'{"n":1}']


def test_a_page_reads_why_it_was_refused(site: Site) -> None:
    """An error of each kind has the headers too: the page sees status and problem document."""
    page = site.open()
    for url, body, status in (
        (site.url("web-fetch"), "no json", 400),
        (site.url("web-fetch").replace(PAGE_KEY, "another"), "{}", 401),
        (site.url("web-fetch", path="/payloads"), '{"n":1}', 422),
    ):
        seen = fetched(page, url, body, JSON_TYPE)
        assert seen.get("status") == status, (url, seen)
        assert json.loads(str(seen["text"]))["status"] == status


def test_a_page_reads_how_long_to_wait(browser: Chromium, pages: Pages, full: Client) -> None:
    """The 503 of a service that is full comes with its Retry-After, which a page may read."""
    site = Site(browser, pages, full)
    seen = fetched(site.open(), site.url("web-full"), "{}", JSON_TYPE)
    full.s3.clear()
    assert seen["status"] == 503
    assert int(str(seen["wait"])) >= 1


def test_a_fetch_with_keepalive_outlives_its_page(site: Site, counted: Counted) -> None:
    """A request that a page begins when it is left arrives, with its preflight."""
    page = site.open()
    page.run(
        "addEventListener('pagehide', () => fetch("
        f"{json.dumps(site.url('web-keepalive'))}, {{method: 'POST', keepalive: true, "
        "headers: {'Content-Type': 'application/json'}, body: '{\"left\":1}'}));"
    )
    page.leave()
    assert counted.stored("web-keepalive", 1) == [b'{"left":1}']


@pytest.mark.parametrize("path", ["/events", "/payloads"])
@pytest.mark.parametrize(
    ("kind", "data"),
    [("string", "BODY"), ("blob", "new Blob([BODY], {type: 'application/json'})")],
)
def test_a_beacon_of_a_page_that_is_left_arrives(
    site: Site, counted: Counted, path: str, kind: str, data: str
) -> None:
    """As text without a preflight, or as a Blob of JSON with one."""
    stream = f"web-beacon-{kind}-{path[1:]}"
    page = site.open()
    sent = json.dumps('[{"left":2}]')
    page.run(
        "addEventListener('pagehide', () => navigator.sendBeacon("
        f"{json.dumps(site.url(stream, path=path))}, {data.replace('BODY', sent)}));"
    )
    page.leave()
    assert counted.stored(stream, 1) == [b'{"left":2}']


def test_a_page_that_is_not_allowed_sees_an_error(
    site: Site, client: Client, counted: Counted
) -> None:
    """Its JSON does not pass the preflight, its text is refused: nothing is stored."""
    page = site.open(allowed=False)
    assert fetched(page, site.url("web-other"), '{"n":1}', JSON_TYPE) == {"failed": "TypeError"}
    blob = "new Blob(['{\"n\":2}'], {type: 'application/json'})"
    page.run(f"navigator.sendBeacon({json.dumps(site.url('web-other'))}, {blob});")
    refused = counted.responses(403)
    for path in ("/events", "/payloads"):
        page.run(f"navigator.sendBeacon({json.dumps(site.url('web-other', path=path))}, '[{{}}]');")
    assert fetched(page, site.url("web-other"), '{"n":3}', {}) == {"failed": "TypeError"}
    wait_until(lambda: counted.responses(403) == refused + 3, timeout=30, what="the refusals")
    # The service answers in order of arrival: what this page sent before has been refused by then.
    assert fetched(page, site.url("web-other"), '{"n":3}', JSON_TYPE) == {"failed": "TypeError"}
    assert client.post("/payloads/web-after", [{}], "clients-key").status == 202
    counted.stored("web-after", 1)
    assert counted.lines("web-other") == []


def test_the_example_works(site: Site, counted: Counted) -> None:
    """The page of docs/clients.md sends a view, and a beacon when it is left."""
    code = blocks("Browser", "html")[0]
    page = site.open(page=code.replace(PLACE, site.service).replace("bb_…", PAGE_KEY))
    wait_until(lambda: len(counted.lines("web-shop")) == 1, timeout=30, what="the view")
    page.leave()
    events = map(json.loads, counted.stored("web-shop", 2))
    assert sorted(event["type"] for event in events) == ["leave", "view"]
    assert PAGE_KEY not in str(counted.lines("web-shop"))
