"""The examples of docs/clients.md, taken from the page and run against a service as they are."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.access.client import Client, sha256
from tests.support import ROOT, wait_until
from tests.support.s3 import LOOPBACK
from tests.support.tools import needed

PAGE = (ROOT / "docs/clients.md").read_text()
KEY = "clients-key"
SECRETS = {
    name: f"{name.lower()}-value"
    for name in ("GITHUB_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRET", "SLACK_SIGNING_SECRET")
}
PAGE_KEY = "page-key"
PLACE = "https://events.example.com"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# How a code block is run, by its language; the block is added as the last argument.
RUN = {"sh": ["bash", "-euc"], "python": [sys.executable, "-c"], "js": ["node", "-e"]}
NODE_MODULES = ROOT / "tests/acceptance/clients/node/node_modules"
# What a language needs beside Python.
PROGRAMS = {"sh": ("bash", "curl", "openssl"), "js": ("node",)}


def require(language: str) -> None:
    """Skip the test, or fail it on CI, where programs of a language cannot run."""
    for name in PROGRAMS.get(language, ()):
        needed(shutil.which(name), name)
    if language == "js":
        needed(NODE_MODULES if NODE_MODULES.exists() else None, "tests/acceptance/clients/node")


def blocks(section: str, language: str) -> list[str]:
    """Return the code blocks of one language under a heading."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = [code for kind, code in BLOCK.findall(text) if kind == language]
    assert found, f"docs/clients.md has no {language} under {section}"
    return found


def access_file(*, origin: str) -> str:
    """Return the page's access file, with the digests of our keys and a page's origin."""
    tables = "\n".join(code for kind, code in BLOCK.findall(PAGE) if kind == "toml")
    for name, key in (("clients", KEY), ("page", PAGE_KEY)):
        tables = tables.replace(
            f'[keys.{name}]\nsha256 = ["…"]', f'[keys.{name}]\nsha256 = ["{sha256(key)}"]'
        )
    assert "…" not in tables
    admin = f'[keys.admin]\nsha256 = ["{sha256("admin-key")}"]\nscope = "admin"\n'
    return tables.replace("https://shop.example", origin) + admin


def start(code: str, *, client: Client, cwd: Path, run: list[str]) -> subprocess.Popen[str]:
    """Start a program as a process of its own, with the environment that the page asks for."""
    place = f"http://{LOOPBACK}:{client.service.port}"
    environ = {
        **SECRETS, "PATH": os.environ["PATH"], "HOME": str(cwd), "BRIGADE_URL": place,
        "BRIGADE_KEY": KEY, "NODE_PATH": str(NODE_MODULES),
    }  # fmt: skip
    return subprocess.Popen(
        [*run, code.replace(PLACE, place)],
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait until a program has ended well, and return its output."""
    try:
        output, _ = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output


@dataclass(frozen=True, slots=True)
class Counted:
    """What a service has answered: how many POSTs of payloads, by status."""

    client: Client

    def responses(self, status: int) -> int:
        """Return how often the service answered with a status."""
        figures = self.client.request("GET", "/metrics", Authorization="Bearer admin-key").body
        wanted = f'bucket_brigade_requests_total{{status="{status}"}} '
        lines = [line for line in figures.decode().splitlines() if line.startswith(wanted)]
        return int(float(lines[0].removeprefix(wanted))) if lines else 0

    def lines(self, stream: str) -> list[bytes]:
        """Return what is stored of a stream."""
        return [line for key, _, line in self.client.s3.lines() if key.startswith(f"{stream}/")]

    def stored(self, stream: str, count: int) -> list[bytes]:
        """Wait until nothing is pending, and return the lines of a stream: so many, no more."""
        wait_until(
            lambda: len(self.lines(stream)) >= count and self.pending() == 0,
            timeout=30,
            what=f"{count} lines in {stream}",
        )
        found = self.lines(stream)
        assert len(found) == count, found
        return found

    def pending(self) -> int:
        """Return how many payloads are accepted and not in S3."""
        stats = self.client.request("GET", "/stats", Authorization="Bearer admin-key").json()
        return int(stats["pending"])
