"""Everything S3 may do to us, and the oracle after each: what was answered 202 is stored, once."""

import contextlib
import http.client
import json
from typing import Any

import pytest

from tests.acceptance.service import (
    ServiceFactory,
    assert_each_object_was_put_once,
    assert_promise_kept,
    settle,
)
from tests.acceptance.wire import problem
from tests.support.flood import Flood, Plan
from tests.support.oracle import judge
from tests.support.s3 import LOOPBACK, FakeS3, Fault, Kind
from tests.support.service import Service

# Objects of a few lines, so that every fault has many to strike.
SMALL = {"OBJECT_MAX_PAYLOADS": 20}
PLAN = Plan(threads=4, requests=300, payloads=(1, 5))
STREAMING = Plan(threads=4, payloads=(1, 5), pause_seconds=0.002)


def conflicts(service: Service) -> int:
    """Return how many PUTs found their key taken, as /metrics has it."""
    (line,) = [
        line
        for line in service.get("/metrics").body.decode().splitlines()
        if line.startswith("bucket_brigade_put_conflicts_total ")
    ]
    return int(float(line.split()[1]))


@pytest.mark.parametrize(
    ("durability", "error", "reason"),
    [
        ("disk", (503, "SlowDown"), "throttled"),
        ("memory", (503, "SlowDown"), "throttled"),
        ("disk", (403, "AccessDenied"), "denied"),
        ("memory", (403, "AccessDenied"), "denied"),
        ("disk", (500, "InternalError"), "server"),
        ("disk", (400, "ExpiredToken"), "denied"),
        ("disk", (409, "ConditionalRequestConflict"), "other"),
    ],
)
def test_an_error_for_a_while_delays_and_loses_nothing(
    service_factory: ServiceFactory,
    s3: FakeS3,
    durability: str,
    error: tuple[int, str],
    reason: str,
) -> None:
    """However S3 refuses for a while: clients see 202s, and later all is stored, once."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    s3.faults(Fault(kind="error", status=error[0], code=error[1]))
    flood = Flood(service.port, PLAN).run()
    assert flood.statuses.keys() == {202}
    s3.wait_until(lambda seen: seen.faults.get("error", 0) >= 5)
    assert service.stats()["pending"] == len(flood.acked)
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)
    found = [event for event in service.logs().events if event["event"] == "put failed"]
    assert {event["reason"] for event in found} == {reason}


def test_a_bucket_that_comes_late_gets_everything(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """While the bucket is missing all is kept, and goes there once it is."""
    service = service_factory.start(DURABILITY=durability, S3_BUCKET="late", **SMALL)
    flood = Flood(service.port, PLAN).run()
    assert flood.statuses.keys() == {202}
    s3.wait_until(lambda seen: seen.requests.get("PUT", 0) >= 5)
    s3.create_bucket("late")
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3, "late")


def flood_until_it_hurts(service: Service, s3: FakeS3, kind: Kind) -> Flood:
    """Send until S3 has failed a dozen times in that way, however many objects that takes."""
    with Flood(service.port, STREAMING) as flood:
        s3.wait_until(lambda seen: seen.faults.get(kind, 0) >= 12, timeout=40)
    return flood


@pytest.mark.parametrize(
    ("durability", "kind"),
    [
        ("disk", "reset"),
        ("memory", "reset"),
        ("disk", "close_early"),
        ("disk", "slow"),
        ("memory", "error"),
    ],
)
def test_a_flaky_s3_gets_everything_once(
    service_factory: ServiceFactory, s3: FakeS3, durability: str, kind: Kind
) -> None:
    """Half of all PUTs fail in the middle, and every payload arrives once."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    s3.faults(Fault(kind=kind, probability=0.5, seconds=0.2))
    flood = flood_until_it_hurts(service, s3, kind)
    assert flood.statuses.keys() == {202}
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)


def test_lost_answers_make_no_duplicates(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """Half of all answers are lost: the object is looked for, and its body is not sent again."""
    service = service_factory.start(DURABILITY=durability, WEB_CONCURRENCY=2, **SMALL)
    s3.faults(Fault(kind="lose_answer", probability=0.5))
    flood = flood_until_it_hurts(service, s3, "lose_answer")
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)
    seen = s3.counts()
    assert seen.requests["PUT"] == seen.stored
    assert seen.requests["HEAD"] == seen.faults["lose_answer"]
    assert conflicts(service) == 0


def test_half_a_body_kept_by_an_evil_store_is_put_right(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """A 412 over an object that is only half of ours is no success: it is replaced by the whole."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    s3.faults(Fault(kind="half", probability=0.5))
    flood = flood_until_it_hurts(service, s3, "half")
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert {stored.created_count for stored in s3.objects().values()} == {1}


def test_a_hanging_s3_holds_up_no_client(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """While every PUT hangs clients are answered as ever; then all goes up, once."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    s3.faults(Fault(kind="hang"))
    flood = Flood(service.port, PLAN).run()
    assert flood.statuses.keys() == {202}
    assert flood.latency(1) < 5
    s3.wait_until(lambda seen: seen.faults.get("hang", 0) >= 8, what="all workers to hang")
    assert service.stats()["idle_workers"] == 0
    s3.clear()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)
    assert service.stats()["idle_workers"] == 8


def test_s3_away_and_back_again(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """Connections refused, at the start and again later: what came meanwhile goes up afterwards."""
    s3.stop_listening()
    service = service_factory.start(DURABILITY=durability, WEB_CONCURRENCY=2, **SMALL)
    floods = [Flood(service.port, PLAN).run()]
    s3.listen_again()
    settle(service)
    with Flood(service.port, Plan(threads=4, payloads=(1, 5))) as flood:
        floods.append(flood)
        flood.wait_for("acked", 200)
        s3.stop_listening()
        flood.wait_for("acked", 600)
        s3.listen_again()
        flood.wait_for("acked", 800)
    assert {status for each in floods for status in each.statuses} == {202}
    assert_promise_kept(service, s3, floods)
    assert_each_object_was_put_once(s3)


def test_everything_at_once(service_factory: ServiceFactory, s3: FakeS3, durability: str) -> None:
    """All faults in one, on several streams: the oracle finds nothing wrong."""
    service = service_factory.start(DURABILITY=durability, WEB_CONCURRENCY=2, **SMALL)
    kinds: list[Kind] = ["reset", "close_early", "lose_answer", "half", "error", "slow"]
    s3.faults(*(Fault(kind=kind, probability=0.15, seconds=0.1) for kind in kinds))
    plan = Plan(threads=4, requests=400, payloads=(1, 9), streams=("a", "b", "c"), form="ndjson")
    flood = Flood(service.port, plan).run()
    assert flood.statuses.keys() == {202}
    s3.faults(Fault(kind="error", methods=("HEAD",), status=500, code="InternalError", times=5))
    assert_promise_kept(service, s3, flood)


def put(s3: FakeS3, key: str, body: bytes) -> None:
    """Put an object past the service."""
    with contextlib.closing(http.client.HTTPConnection(LOOPBACK, s3.port)) as connection:
        connection.request("PUT", f"/{s3.bucket}/{key}", body)
        assert connection.getresponse().status == 200


# --- Dead letters ---------------------------------------------------------------------------------


@pytest.fixture
def refused(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """Let S3 refuse the objects of the stream `bad` for good."""
    service_factory.expect_errors("dead letter")
    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge", key_contains="bad/"))


def letters(service: Service) -> dict[str, tuple[dict[str, Any], list[bytes]]]:
    """Read the dead letters in the spool: the note and the lines of each segment."""
    notes = sorted((service.spool_dir / "dead").glob("*.json"))
    return {
        note.stem: (
            json.loads(note.read_bytes()),
            note.with_suffix(".ndjson").read_bytes().splitlines(),
        )
        for note in notes
    }


@pytest.mark.usefixtures("refused")
def test_what_s3_refuses_for_good_is_a_dead_letter(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """It is on disk with the reason, counted, logged and in its receipt; others go on."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    bad = Flood(service.port, Plan(requests=60, payloads=5, streams=("bad",))).run()
    good = Flood(service.port, Plan(requests=60, payloads=5, streams=("good",))).run()
    stats = settle(service)
    assert (stats["accepted"], stats["stored"], stats["dead"]) == (600, 300, 300)
    judge(good, s3).assert_clean()
    assert len(judge(bad, s3).lost) == 300
    kept = letters(service)
    assert {json.loads(line)["id"] for _, lines in kept.values() for line in lines} == bad.acked
    for name, (note, lines) in kept.items():
        assert "EntityTooLarge" in note["reason"]
        assert note["payloads"] == len(lines)
        assert name in note["key"]
    receipt = service.get(f"/receipts/{bad.outcomes[0].receipts[0].id}").json()
    assert receipt["state"] == "dead"
    assert "EntityTooLarge" in receipt["reason"]
    assert "bucket_brigade_payloads_dead 300.0" in service.get("/metrics").body.decode()
    buried = [event for event in service.logs().events if event["event"] == "dead letter"]
    assert sum(event["payloads"] for event in buried) == 300


@pytest.mark.usefixtures("refused")
def test_a_dead_letter_stays_counted_over_a_restart(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """Dead is still dead after a stop and a start: neither lost from the books nor tried again."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    bad = Flood(service.port, Plan(requests=20, payloads=5, streams=("bad",))).run()
    settle(service)
    service.terminate()
    assert service.wait(30) == 0
    s3.clear()
    service.start()
    service.wait_ready()
    stats = service.stats()
    assert (stats["accepted"], stats["stored"], stats["dead"]) == (100, 0, 100)
    assert sum(len(lines) for _, lines in letters(service).values()) == 100
    assert len(judge(bad, s3).lost) == 100
    assert service.get(f"/receipts/{bad.outcomes[0].receipts[0].id}").json()["state"] == "dead"


def test_the_object_of_somebody_else_is_left_alone(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """A key that holds another's object is a dead letter; that object is not touched."""
    service_factory.expect_errors("dead letter")
    template = "{stream}/{segment}"
    service = service_factory.start(
        DURABILITY=durability, KEY_TEMPLATE=template, OBJECT_MAX_AGE_SECONDS=60
    )
    answer = service.post("/payloads/theirs", b'[{"mine":1}]')
    key = answer.json()["receipts"][0]["object"].removeprefix(f"s3://{s3.bucket}/")
    put(s3, key, b"theirs\n")
    service.terminate()
    assert service.wait(30) == 0
    assert s3.objects()[key].body == b"theirs\n"
    ((note, lines),) = letters(service).values()
    assert lines == [b'{"mine":1}']
    assert "another object" in note["reason"]


def test_the_front_door_is_open_while_s3_is_away(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """Ready means ready to accept: S3's absence is not the client's business; receipts say 503."""
    s3.stop_listening()
    service = service_factory.start(DURABILITY=durability)
    answer = service.post("/payloads", [{}])
    assert answer.status == 202
    assert service.get("/readyz").status == 200
    state = service.get(answer.headers["Location"]).json()["state"]
    assert state in {"accepted", "uploading"}
    gone = service_factory.make(DURABILITY=durability)
    with gone:
        problem(gone.get(answer.headers["Location"]), 503)
