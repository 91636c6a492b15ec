"""The pictures of the documents, taken where SCREENSHOTS names a directory: `make screenshots`."""

import math
import os
import random
import time
from pathlib import Path

import pytest

from tests.acceptance.console.console import Console
from tests.acceptance.service import ServiceFactory
from tests.support.s3 import FakeS3, Fault
from workers.figures.history import SLOTS, STEP_SECONDS, Moment, _pack
from workers.figures.published import FIGURES

DIRECTORY = os.environ.get("SCREENSHOTS")
# What each round of posts sends: the history before it has the same rates.
STREAMS = {"orders": 60, "clicks": 100, "signups": 4}
ROUND_SECONDS = 0.25
# Of the outage in the history, in seconds ago.
AWAY, BACK, DRAINED = 400, 280, 220


def moments(now: float) -> list[Moment]:
    """Make ten minutes before the service starts; they end where its counters begin, at zero."""
    found: list[Moment] = []
    accepted = stored = refused = 0.0
    for step in range(int(now / STEP_SECONDS), int(now / STEP_SECONDS) - SLOTS, -1):
        at = step * STEP_SECONDS
        found.append(
            Moment(
                at=at,
                accepted=int(accepted),
                stored=int(stored),
                refused=int(refused),
                pending=int(accepted - stored),
                held_bytes=0,
                dead=0,
            )
        )
        rate = sum(STREAMS.values()) / ROUND_SECONDS * (1 + 0.18 * math.sin(at / 90))
        rate *= random.uniform(0.92, 1.08)
        accepted -= rate * STEP_SECONDS
        ago = now - at
        if ago < DRAINED or ago > AWAY:
            stored -= rate * STEP_SECONDS * random.uniform(0.95, 1.05)
        elif ago < BACK:
            stored -= rate * STEP_SECONDS * ((AWAY - DRAINED) / (BACK - DRAINED))
        refused -= 1 if random.random() < 0.2 else 0
    return found


def write_history(spool: Path) -> None:
    """Give a service that has not started ten minutes of history."""
    (spool / FIGURES).mkdir(parents=True)
    with (spool / FIGURES / "history").open("wb") as file:
        for moment in moments(time.time()):
            slot = _pack(moment)
            file.seek(int(moment.at / STEP_SECONDS) % SLOTS * len(slot))
            file.write(slot)


def load(console: Console, seconds: float) -> None:
    """Post for some seconds, as much as the history says."""
    number = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        for stream, count in STREAMS.items():
            console.post(
                [{"id": number + n, "customer": f"c-{n:04}"} for n in range(count)], stream
            )
            number += count
        if random.random() < 0.1:
            console.service.post("/payloads", [])
        time.sleep(max(0.0, ROUND_SECONDS - (time.monotonic() - started)))


@pytest.mark.skipif(DIRECTORY is None, reason="`make screenshots` takes the pictures")
@pytest.mark.timeout(300)
def test_take_the_pictures(
    browser: object, services: tuple[ServiceFactory, FakeS3], request: pytest.FixtureRequest
) -> None:
    """Calm, in an outage, on a phone: with ten minutes of history."""
    factory, s3 = services
    settings = {"WEB_CONCURRENCY": 2, "MAX_WORKERS": 4, "OBJECT_MAX_AGE_SECONDS": 2}
    service = factory.make(**settings)
    write_history(service.spool_dir)
    service.start()
    service.wait_ready()
    console = Console(request.getfixturevalue("browser"), service, s3)
    del browser
    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge", key_contains="reports/"))
    console.post([{"report": "a" * 40}], "reports")
    load(console, 14)
    console.open()
    directory = Path(str(DIRECTORY))
    console.page.resize(1280, 1180)
    load(console, 5)
    console.page.screenshot(directory / "console.png")
    s3.stop_listening()
    load(console, 24)
    console.page.resize(1280, 1000, scheme="dark")
    load(console, 3)
    console.page.screenshot(directory / "console-outage.png")
    console.page.resize(390, 844)
    load(console, 3)
    console.page.screenshot(directory / "console-phone.png")
    s3.listen_again()
    s3.clear()
    assert console.errors() == []
