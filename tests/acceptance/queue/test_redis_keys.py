"""Idempotency keys of a service whose machines share nothing but a queue and the bucket."""

import json
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest

from tests.acceptance.access.client import FILE, WRITER, Client
from tests.acceptance.access.test_ways_in import github
from tests.acceptance.queue.conftest import Start, machines
from tests.support import wait_until
from tests.support.redis.gate import Gate
from tests.support.redis.server import RedisProcess, program_of
from tests.support.s3 import FakeS3
from tests.support.service import Answer, Service
from tests.support.tools import needed
from workers.queue.redis_client import source

ROUNDS = 6


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """Run a server that may be killed."""
    directory = tmp_path_factory.mktemp("redis")
    with RedisProcess(needed(program_of(), "redis-server"), directory) as server:
        yield server


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisProcess
) -> Iterator[tuple[Client, Client]]:
    """Run two machines with an access file on one queue, which cut collections by a member."""
    root = tmp_path_factory.mktemp("keys")
    file = root / "access.toml"
    file.write_text(FILE)
    settings = {
        "QUEUE_URL": f"{redis.url}?name=pair",
        "ACCESS_FILE": file,
        "GITHUB_SECRET": "It's a Secret",
        "SLACK_SECRET": "slack",
        "KEY_TEMPLATE": "{stream}/{payload.kind}/{segment}",
        "OBJECT_MAX_AGE_SECONDS": 0.3,
    }
    with FakeS3() as s3, machines(root, s3, settings) as start:
        one, two = (Client(start("all"), s3, file) for _ in range(2))
        yield one, two


def fresh() -> str:
    """Return a key that was not used before."""
    return str(uuid.uuid4())


def is_replay(answer: Answer) -> bool:
    """Whether an answer says that it is one again."""
    return answer.headers.get("Idempotent-Replayed") == "true"


def lines_with(s3: FakeS3, mark: str) -> int:
    """Return how many lines in the bucket have a mark."""
    return sum(mark.encode() in line for _, _, line in s3.lines())


def test_a_retry_at_another_machine(pair: tuple[Client, Client]) -> None:
    """It gets the same answer, of several objects too, before and after they are there."""
    one, two = pair
    key = fresh()
    body = [{"kind": kind, "mark": key} for kind in "abab"]
    first = one.post("/payloads", body, WRITER, Idempotency_Key=key)
    assert (first.status, is_replay(first)) == (202, False)
    assert [each["indexes"] for each in first.json()["receipts"]] == [
        [[0, 0], [2, 2]],
        [[1, 1], [3, 3]],
    ]
    for client in (two, one):
        again = client.post("/payloads", body, WRITER, Idempotency_Key=key)
        assert (again.status, again.body, is_replay(again)) == (202, first.body, True)
        assert again.headers["Location"] == first.headers["Location"]
        wait_until(lambda: lines_with(one.s3, key) == 4, timeout=30, what="the upload")
    for receipt in first.json()["receipts"]:
        found = two.request("GET", f"/receipts/{receipt['id']}", Authorization="Bearer admin-key")
        assert found.json()["indexes"] == receipt["indexes"]
    changed = two.post("/payloads", body[1:], WRITER, Idempotency_Key=key)
    assert changed.status == 422
    assert "another body" in changed.json()["detail"]
    metrics = two.request("GET", "/metrics", Authorization="Bearer admin-key").body
    assert b"\nbucket_brigade_idempotent_replays_total " in metrics
    assert b"\nbucket_brigade_idempotent_replays_total 0" not in metrics


def test_both_machines_at_once(pair: tuple[Client, Client]) -> None:
    """One accepts; the other answers as it did, or that the first is under way."""
    mark, barrier = fresh(), Barrier(4)

    def send(client: Client) -> Answer:
        barrier.wait()
        return client.post("/payloads", [{"mark": mark}], WRITER, Idempotency_Key=key)

    with ThreadPoolExecutor(4) as threads:
        for number in range(ROUNDS):
            key = f"{mark}-{number}"
            answers = list(threads.map(send, pair * 2))
            assert {answer.status for answer in answers} <= {202, 409}
            taken = [answer for answer in answers if answer.status == 202]
            assert sum(not is_replay(answer) for answer in taken) == 1
            assert len({answer.body for answer in taken}) == 1
            assert all(a.headers["Retry-After"] == "1" for a in answers if a.status == 409)
    wait_until(lambda: lines_with(pair[0].s3, mark) >= ROUNDS, timeout=30, what="the upload")
    assert lines_with(pair[0].s3, mark) == ROUNDS


def test_a_delivery_that_comes_again(pair: tuple[Client, Client]) -> None:
    """A webhook's delivery id is its key on all machines, even if the body has changed."""
    one, two = pair
    delivery, answers = fresh(), []
    for client, attempt in ((one, 1), (two, 2)):
        body = json.dumps({"kind": delivery, "try": attempt}).encode()
        headers = github(body) | {"X_GitHub_Delivery": delivery}
        answers.append(client.post("/webhooks/github", body, **headers))
    assert [answer.status for answer in answers] == [202, 202]
    assert [is_replay(answer) for answer in answers] == [False, True]
    assert answers[0].body == answers[1].body
    wait_until(lambda: lines_with(one.s3, delivery) > 0, timeout=30, what="the upload")
    assert lines_with(one.s3, delivery) == 1


def test_what_is_refused_frees_its_key(pair: tuple[Client, Client]) -> None:
    """At once on its machine, soon on others, with any body."""
    one, two = pair
    keys = fresh(), fresh()
    for key in keys:
        assert one.post("/payloads", b"[1]", WRITER, Idempotency_Key=key).status == 422
    assert one.post("/payloads", [{}], WRITER, Idempotency_Key=keys[0]).status == 202

    def is_free() -> bool:
        return two.post("/payloads", [{}], WRITER, Idempotency_Key=keys[1]).status == 202

    wait_until(is_free, timeout=20, what="the key")


def test_the_server_is_killed(pair: tuple[Client, Client], redis: RedisProcess) -> None:
    """What was accepted with a key before is known after it; while it is away it is a 503."""
    one, two = pair
    key = fresh()
    first = one.post("/payloads", [{"mark": key}], WRITER, Idempotency_Key=key)
    assert first.status == 202
    redis.kill()
    refused = two.post("/payloads", [{"mark": key}], WRITER, Idempotency_Key=key)
    assert refused.status == 503
    assert refused.headers["Retry-After"]
    redis.start()
    for client in pair:
        client.service.wait_ready()
        again = client.post("/payloads", [{"mark": key}], WRITER, Idempotency_Key=key)
        assert (again.body, is_replay(again)) == (first.body, True)


@pytest.fixture
def start(tmp_path: Path, redis: RedisProcess, s3: FakeS3) -> Iterator[Start]:
    """Start services on a queue of the test's own."""
    settings = {"QUEUE_URL": f"{redis.url}?name={fresh()}", "OBJECT_MAX_AGE_SECONDS": 0.3}
    with machines(tmp_path, s3, settings) as begin:
        yield begin


def test_keys_end(start: Start) -> None:
    """After `IDEMPOTENCY_SECONDS`, or before, as one of too many, which is counted."""
    service = start("all", IDEMPOTENCY_SECONDS=2, IDEMPOTENCY_MAX_KEYS=2)

    def send(key: str) -> bool:
        answer = service.post("/payloads", [{}], headers={"Idempotency-Key": key})
        assert answer.status == 202
        return is_replay(answer)

    wait_until(lambda: not send("a") and send("a"), timeout=10, what="a replay")
    wait_until(lambda: not send("a"), timeout=10, what="the end of the key's time")
    assert [send(key) for key in "bcde"] == [False] * 4
    assert not send("b")
    metrics = service.get("/metrics").body.decode()
    [line] = [
        line
        for line in metrics.splitlines()
        if line.startswith("bucket_brigade_idempotency_keys_dropped_total ")
    ]
    assert float(line.split()[1]) > 0


@pytest.mark.parametrize("fate", ["lost", "late", "done"])
def test_a_machine_dies_before_it_answers(
    start: Start, redis: RedisProcess, s3: FakeS3, *, fate: str
) -> None:
    """Its append is lost, arrives late, or was done: a retry elsewhere is stored once."""
    other = start("all")
    mark = fresh()
    headers = {"Idempotency-Key": mark}
    # Else the first append is answered that its script is not known, and that answer is lost.
    redis.client().script_load(source("append"))
    with Gate(redis.port) as gate, ThreadPoolExecutor(1) as threads:
        url = other.settings["QUEUE_URL"].replace(f":{redis.port}", f":{gate.port}")
        dying = start("web", QUEUE_URL=url)
        gate.close_at(mark.encode(), answers=fate == "done")
        unanswered = threads.submit(send_to_die, dying, mark)
        assert gate.closed.wait(20)
        status = partial(status_of, other, mark)
        if fate == "done":
            wait_until(lambda: status() == 202, timeout=10, what="the append, which is under way")
        else:
            assert status() == 409
        dying.kill_group()
        shutil.rmtree(dying.log_path.parent)
        assert unanswered.result() in {None, 503}
        end_claims(redis, other)
        answer = other.post("/payloads", [{"mark": mark}], headers=headers)
        assert (answer.status, is_replay(answer)) == (202, fate == "done")
        if fate == "late":
            gate.open()
            assert gate.passed.wait(20)
        again = other.post("/payloads", [{"mark": mark}], headers=headers)
    assert (again.status, again.body, is_replay(again)) == (202, answer.body, True)
    expire(redis, other)
    other.wait_stats(lambda stats: stats["pending"] == 0)
    assert other.stats()["accepted"] == lines_with(s3, mark) == 1


def status_of(service: Service, mark: str) -> int:
    """Send a request, and return its status."""
    answer = service.post("/payloads", [{"mark": mark}], headers={"Idempotency-Key": mark})
    return answer.status


def send_to_die(service: Service, mark: str) -> int | None:
    """Send a request whose service dies; None for no answer."""
    try:
        return status_of(service, mark)
    except OSError:
        return None


def end_claims(redis: RedisProcess, service: Service) -> None:
    """Let all claims have ended, as each does by itself after some seconds."""
    end_all = "for _, each in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', each) end"
    client = redis.client()
    client.eval(end_all, 0, f"{prefix_of(service)}claim:*")
    client.close()


def expire(redis: RedisProcess, service: Service) -> None:
    """Let all writers' leases have expired: what is alive renews its own."""
    client = redis.client()
    for name in client.zrange(f"{prefix_of(service)}writers", 0, -1):
        client.zadd(f"{prefix_of(service)}writers", {name: 1})
    client.close()


def prefix_of(service: Service) -> str:
    """Return what the keys of a service's queue begin with."""
    return "{" + service.settings["QUEUE_URL"].partition("name=")[2] + "}:"
