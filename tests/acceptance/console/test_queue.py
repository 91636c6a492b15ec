"""The console of machines that share a queue, in Chromium: any web machine shows all of them."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.acceptance.clients.chromium import Chromium
from tests.acceptance.console.console import Console
from tests.acceptance.queue.conftest import Start, machines
from tests.support.redis.server import RedisProcess, program_of
from tests.support.s3 import FakeS3, Fault
from tests.support.tools import needed

PREFIX = "{bucket-brigade}"
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
VERDICT = "document.querySelector('#verdict').dataset.state"


class Tiers(NamedTuple):
    """The console of a machine that accepts, without credentials, and what starts others."""

    console: Console
    start: Start
    redis: RedisProcess


@pytest.fixture(scope="module")
def running(browser: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiers]:
    """Start the one that accepts, and what stands behind it."""
    directory = tmp_path_factory.mktemp("tiers")
    with (
        RedisProcess(needed(program_of(), "redis-server"), directory / "redis") as redis,
        FakeS3() as s3,
        machines(directory, s3, {"QUEUE_URL": redis.url, "OBJECT_MAX_AGE_SECONDS": 0.3}) as start,
    ):
        console = Console(browser, start("web", **NO_CREDENTIALS), s3)
        yield Tiers(console, start, redis)


@pytest.fixture
def tiers(running: Tiers) -> Iterator[Tiers]:
    """Show the console anew; afterwards see that the page did nothing that it must not."""
    running.console.open()
    yield running
    running.console.s3.clear()
    running.console.leave()
    running.console.assert_nothing_wrong()


def age(redis: RedisProcess, seconds: float) -> None:
    """Let what is shown have been written some seconds ago; processes that run write it anew."""
    with contextlib.closing(redis.client()) as client:
        for process in client.zrange(f"{PREFIX}:published", 0, -1):
            client.zincrby(f"{PREFIX}:published", -seconds * 1000, process)


def test_an_outage_a_dead_letter_and_a_lost_machine(tiers: Tiers) -> None:
    """What any machine accepts, fails to upload or has lost is on the page of another."""
    console, s3 = tiers.console, tiers.console.s3
    other = tiers.start("all")
    console.until("document.querySelectorAll('.process').length == 2", "all processes")
    assert "2 processes" in console.text("#processes-count")
    console.until("document.querySelector('#pending').innerText == '0'", "what was left")
    s3.stop_listening()
    assert other.post("/payloads/orders", [{"n": 1}, {"n": 2}]).status == 202
    console.until(f"{VERDICT} == 'late'", "the outage")
    assert console.text("#verdict-text") == "2 payloads are not in S3: it cannot be reached."
    s3.listen_again()
    console.until(
        "document.querySelector('#verdict-text').innerText == 'Everything is in S3.'", "S3"
    )
    console.until("document.querySelector('#objects').innerText.includes('orders')", "the object")

    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge"))
    assert other.post("/payloads/letters", [{"n": 3}]).status == 202
    console.until("document.querySelector('#letters tbody tr')", "the dead letter")
    s3.clear()
    console.page.click("#letters button")
    console.until("document.querySelector('#look-lines').innerText == '{\"n\": 3}'", "its lines")
    console.page.press("Escape")
    console.page.click("#letters button + button")
    console.until("!document.querySelector('#letters tbody tr')", "the replay")
    console.until("document.querySelector('#objects').innerText.includes('letters')", "its object")

    other.kill_group()
    age(tiers.redis, 15)
    console.until("document.querySelectorAll('.process.silent').length == 1", "the lost machine")
    assert "has shown nothing new for 10 seconds" in console.text("#verdict-notes")
    age(tiers.redis, 60)
    console.until("document.querySelectorAll('.process').length == 1", "its end")


def test_the_page_says_what_it_cannot_do(tiers: Tiers) -> None:
    """Without credentials it cannot look into an object; without the queue it has old figures."""
    console, worker = tiers.console, tiers.start("worker")
    console.post([{"n": 1}])
    console.until("document.querySelector('#objects tbody button')", "the object")
    console.page.click("#objects tbody button")
    console.until("document.querySelector('#look-lines .error')", "why not")
    assert "Unable to locate credentials" in console.text("#look-lines")
    console.page.press("Escape")
    worker.kill_group()
    age(tiers.redis, 60)
    console.post([{"n": 2}])
    console.until(f"{VERDICT} == 'late'", "what no process uploads")
    assert "no process that uploads is running" in console.text("#verdict-text")
    tiers.redis.kill()
    console.until("!document.querySelector('#stale').hidden", "the warning")
    assert "The queue does not answer." in console.text("#stale")
    tiers.redis.start()
    console.until("document.querySelector('#stale').hidden", "its end")
    console.forgive_errors()
