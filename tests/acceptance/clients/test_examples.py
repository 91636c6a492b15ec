"""The examples of docs/clients.md: each delivers, is satisfied by the answer, and retries a 503."""

import json
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

import pytest

from tests.acceptance.access.client import Client
from tests.acceptance.clients.examples import RUN, Counted, blocks, finish, require, start
from tests.support import wait_until


class Example(NamedTuple):
    """A section of the page, the language of its program, where it sends to, and how much."""

    section: str
    language: str
    stream: str
    payloads: int = 1

    def start(self, client: Client, cwd: Path, *, number: int = 0) -> Popen[str]:
        """Start its program."""
        require(self.language)
        code = blocks(self.section, self.language)[number]
        return start(code, client=client, cwd=cwd, run=RUN[self.language])


RETRYING = [
    Example("curl", "sh", "curl"),
    Example("Python", "python", "python"),
    Example("GitHub", "sh", "github"),
    Example("Segment", "python", "segment"),
    Example("PostHog", "python", "posthog"),
    Example("pino", "js", "pino"),
]
EXAMPLES = [
    *RETRYING,
    Example("Stripe", "sh", "stripe"),
    Example("Slack", "sh", "slack"),
    Example("CloudEvents", "python", "cloudevents", 2),
    Example("winston", "js", "winston"),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.section)
def test_an_example_delivers_once(
    client: Client, counted: Counted, tmp_path: Path, example: Example
) -> None:
    """It ends without an error, and what it sent is stored, once: it took the answer for one."""
    before = len(counted.lines(example.stream))
    finish(example.start(client, tmp_path))
    lines = counted.stored(example.stream, before + example.payloads)
    assert "-key" not in str(lines), "the key is not kept"


@pytest.mark.parametrize("example", RETRYING, ids=lambda example: example.section)
def test_an_example_retries_a_503(full: Client, tmp_path: Path, example: Example) -> None:
    """Refused by a full service, it sends again until the service takes it, and ends well."""
    counted = Counted(full)
    before = counted.responses(503)
    process = example.start(full, tmp_path)
    try:
        wait_until(lambda: counted.responses(503) > before, timeout=60, what="a 503")
    finally:
        full.s3.clear()
        finish(process)
    counted.stored(example.stream, example.payloads)


def test_curl_sends_a_compressed_file(client: Client, counted: Counted, tmp_path: Path) -> None:
    """The second example for curl: one object per line, compressed on the way."""
    (tmp_path / "events.ndjson").write_text('{"file":1}\n{"file":2}\n')
    finish(Example("curl", "sh", "curl").start(client, tmp_path, number=1))
    wait_until(
        lambda: (
            [line for line in counted.lines("curl") if b"file" in line]
            == [b'{"file":1}', b'{"file":2}']
        ),
        timeout=30,
        what="the lines of the file",
    )


def test_a_cloudevent_is_the_same_in_both_modes(
    client: Client, counted: Counted, tmp_path: Path
) -> None:
    """What the SDK sends in binary mode is stored as what it sends in structured mode."""
    before = len(counted.lines("cloudevents"))
    finish(Example("CloudEvents", "python", "cloudevents").start(client, tmp_path))
    for event in map(json.loads, counted.stored("cloudevents", before + 2)):
        event.pop("time", None)
        event.pop("datacontenttype", None)
        assert event == {
            "specversion": "1.0", "id": "1", "source": "/shop", "type": "example.order",
            "data": {"total": 12.5},
        }  # fmt: skip
