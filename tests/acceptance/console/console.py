"""The console in a browser: what it shows, and what its page has asked for."""

import json
from typing import Any
from urllib.parse import urlsplit

from tests.acceptance.clients.chromium import Chromium, Page
from tests.support import wait_until
from tests.support.s3 import LOOPBACK, FakeS3
from tests.support.service import Service

# So that nothing of the page's start is missed.
DOMAINS = ("Page", "Runtime", "Log", "Network")


class Console:
    """The page, and the service that it belongs to."""

    def __init__(self, browser: Chromium, service: Service, s3: FakeS3) -> None:
        self.service, self.s3 = service, s3
        self.origin = f"http://{LOOPBACK}:{service.port}"
        self.page: Page = browser.open("about:blank")
        for domain in DOMAINS:
            self.page.call(f"{domain}.enable")
        self._seen_errors = 0

    def open(self) -> None:
        """Show the console, and wait until it has figures."""
        self.page.resize(1280, 900)
        self.page.go(f"{self.origin}/console")
        known = "(document.querySelector('#verdict')?.dataset.state ?? 'unknown') != 'unknown'"
        self.until(known, "figures")

    def leave(self) -> None:
        """Leave the page, so that what the next test sees is its own."""
        self.page.call("Network.setBlockedURLs", urls=[])
        self.page.leave()

    def until(self, condition: str, what: str) -> None:
        """Wait until an expression holds in the page."""
        script = f"return Boolean({condition});"
        wait_until(lambda: self.page.run(script) is True, timeout=50, what=what)

    def text(self, selector: str) -> str:
        """Return the text that is shown somewhere."""
        found = self.page.run(f"return document.querySelector({json.dumps(selector)}).innerText;")
        return str(found)

    def post(self, payloads: list[Any], stream: str = "orders") -> None:
        """Post payloads to the service."""
        assert self.service.post(f"/payloads/{stream}", payloads).status == 202

    def errors(self) -> list[str]:
        """Return what the page has reported as wrong: errors, exceptions, refused by its policy."""
        thrown = self.page.events("Runtime.exceptionThrown")
        logged = self.page.events("Log.entryAdded")
        printed = self.page.events("Runtime.consoleAPICalled")
        return [
            *(json.dumps(event) for event in thrown),
            *(json.dumps(e["entry"]) for e in logged if e["entry"]["level"] != "verbose"),
            *(json.dumps(event) for event in printed),
        ]

    def asked(self) -> set[str]:
        """Return the URLs that the page has asked for."""
        return {event["request"]["url"] for event in self.page.events("Network.requestWillBeSent")}

    def forgive_errors(self) -> None:
        """Let the errors so far be what the test wanted."""
        self._seen_errors = len(self.errors())

    def assert_nothing_wrong(self) -> None:
        """See that there was no error, and that no request left the origin."""
        assert self.errors()[self._seen_errors :] == []
        hosts = {urlsplit(url).netloc.rpartition("@")[2] for url in self.asked()}
        assert hosts <= {f"{LOOPBACK}:{self.service.port}", ""}  # The last is about:blank.
