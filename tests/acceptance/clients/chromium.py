"""Headless Chromium, driven over its DevTools pipe: pages, what they evaluate to, their end.

The protocol: https://chromedevtools.github.io/devtools-protocol/. Knows no service.
"""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

# No sandbox: as root, and in most containers, Chromium cannot make one. The rest keeps it from
# looking for its maker's hosts.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe",
)  # fmt: skip
BLANK = "about:blank"
# With --remote-debugging-pipe Chromium reads from descriptor 3 and writes to 4.
WITH_PIPES = 'exec "$@" 3<&{read} 4>&{write}'


def find() -> str | None:
    """Return where Chromium is; None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Chromium:
    """One browser, with a profile of its own. As a context manager it starts and ends."""

    def __init__(self, program: str, profile: Path) -> None:
        self._command = [program, *FLAGS, f"--user-data-dir={profile}", BLANK]
        self._log = profile.with_suffix(".log")
        self._number = 0
        # What pages have reported, of the domains that are enabled in them.
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        script = WITH_PIPES.format(read=theirs_in, write=theirs_out)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", script, "bash", *self._command],
                pass_fds=(theirs_in, theirs_out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out = ours_out
        self._in = os.fdopen(ours_in, "rb")
        return self

    def __exit__(self, *_: object) -> None:
        # Its other processes end with it.
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        self._in.close()

    def open(self, url: str) -> "Page":
        """Open a page in a tab of its own, and wait until it is loaded."""
        target = self.call("Target.createTarget", url=BLANK)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        # Unlike a tab that is made with a URL, this returns when the page is there, if not whole.
        page.go(url)
        page.run("if (document.readyState != 'complete') await new Promise(r => onload = r);")
        return page

    def call(self, method: str, *, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result; blocks until it is there.

        Raises:
            AssertionError: the method failed, or the browser has ended; with what it printed.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._receive()
            if found.get("id") == self._number:
                assert "result" in found, found
                result: dict[str, Any] = found["result"]
                return result
            self.events.append(found)

    def _receive(self) -> dict[str, Any]:
        text = bytearray()
        while not text.endswith(b"\0"):
            byte = self._in.read(1)
            if not byte:
                raise AssertionError(f"Chromium has ended: {self._log.read_text()}")
            text += byte
        message: dict[str, Any] = json.loads(text[:-1])
        return message


class Page:
    """A tab with a page."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol on this page, and return its result."""
        return self._browser.call(method, session=self._session, **params)

    def events(self, *methods: str) -> list[dict[str, Any]]:
        """Return what this page has reported by now: the parameters of the events so called."""
        self.run("")
        return [
            event["params"]
            for event in self._browser.events
            if event.get("sessionId") == self._session and event["method"] in methods
        ]

    def resize(self, width: int, height: int, *, scheme: str = "light") -> None:
        """Show the page at this size, in CSS pixels, and in `light` or `dark`."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.call("Emulation.setDeviceMetricsOverride", **size, mobile=width < 500)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def click(self, selector: str) -> None:
        """Click with the mouse into the middle of the first element that matches."""
        where = self.run(
            f"const node = document.querySelector({json.dumps(selector)});"
            "node.scrollIntoView({block: 'center'});"
            "const box = node.getBoundingClientRect();"
            "return {x: box.x + box.width / 2, y: box.y + box.height / 2};"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)

    def press(self, key: str) -> None:
        """Press a key that has a name: Tab, Enter, Escape."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code, **text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def screenshot(self, path: Path) -> None:
        """Write what is visible as a PNG."""
        found = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def run(self, script: str) -> Any:
        """Run the body of an async function in the page; return what it returns, as JSON.

        Raises:
            AssertionError: it threw.
        """
        found = self._browser.call(
            "Runtime.evaluate",
            session=self._session,
            expression=f"(async () => {{ {script} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def go(self, url: str) -> None:
        """Go to another page: this one is unloaded."""
        self._browser.call("Page.navigate", session=self._session, url=url)

    def leave(self) -> None:
        """Go to a page that is empty."""
        self.go(BLANK)
