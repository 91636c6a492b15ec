"""`Prefer: wait`: a 201 says that the payloads are in the bucket; a 202 comes in time."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.prefer.samples import Waiting, applied
from tests.acceptance.wire import JSON, Wire, post
from tests.support.s3 import Fault

HANG = Fault(kind="hang")
REFUSED = Fault(kind="error", status=400, code="EntityTooLarge")
# More than S3 takes, and no more than the server without the engine waits.
LONG = 9


def test_a_201_says_that_the_payloads_are_in_the_bucket(waiting: Waiting) -> None:
    """When it arrives they are there, on the lines that its receipts name, as is their state."""
    answer = waiting.post("stored", [{"n": 1}, {"n": 2}], f"wait={LONG}")
    assert sorted(waiting.lines("stored")) == [b'{"n": 1}', b'{"n": 2}']
    assert answer.status == 201
    assert applied(answer) == f"wait={LONG}"
    said = answer.json()
    assert (said["accepted"], said["durability"]) == (2, "stored")
    [receipt] = said["receipts"]
    assert (receipt["state"], receipt["first_line"], receipt["count"]) == ("stored", 1, 2)
    assert answer.headers["Location"] == f"/receipts/{receipt['id']}"
    found = waiting.service.get(answer.headers["Location"]).json()
    assert found["state"] == "stored"
    assert found.items() >= receipt.items()


@pytest.mark.parametrize("path", ["/payloads", "/events"])
@pytest.mark.parametrize("body", [b'[{"n":1}]', b'[{"pad":"%s"}]' % (b"x" * 300_000)])
def test_every_way_and_size_waits(waiting: Waiting, path: str, body: bytes) -> None:
    """Small bodies and large ones, with an envelope and without."""
    assert waiting.post("ways", body, f'foo; a="b,c", WAIT = "{LONG}"', path).status == 201


def test_clients_that_wait_share_objects(waiting: Waiting) -> None:
    """Two hundred requests over twenty connections at a time make few objects, not one each."""
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda n: waiting.post("shared", [{"n": n}], f"wait={LONG}"), range(200))
        )
    assert {answer.status for answer in answers} == {201}
    assert len(waiting.lines("shared")) == 200
    assert waiting.objects("shared") <= 50


def test_s3_that_is_slow_is_a_202_in_time(troubled: Waiting) -> None:
    """After the seconds that the client gave, and not before; the payloads are stored later."""
    troubled.s3.faults(HANG)
    answer, seconds = troubled.timed("slow", "wait=1")
    assert answer.status == 202
    assert applied(answer) == "wait=1"
    assert 0.99 < seconds < LONG
    assert "state" not in answer.json()["receipts"][0]
    assert troubled.service.get(answer.headers["Location"]).json()["state"] == "uploading"


def test_s3_that_is_away_is_a_202_in_time(troubled: Waiting) -> None:
    """A connection that is refused is tried again as long as the client waits, and no longer."""
    troubled.s3.stop_listening()
    try:
        answer, seconds = troubled.timed("away", "wait=1")
    finally:
        troubled.s3.listen_again()
    assert (answer.status, applied(answer)) == (202, "wait=1")
    assert 0.99 < seconds < LONG


def test_a_dead_letter_is_a_202_at_once(troubled: Waiting) -> None:
    """What S3 refuses for good is not waited for; the receipt says so."""
    troubled.s3.faults(REFUSED)
    answer, _ = troubled.timed("dead", f"wait={LONG}")
    assert answer.status == 202
    assert troubled.service.get(answer.headers["Location"]).json()["state"] == "dead"


def test_without_a_wait_nothing_is_different(waiting: Waiting) -> None:
    """No time, an unknown preference and a value that is none are answered as ever."""
    for prefer in ("wait=0", "wait", "wait=-1", "wait=soon", "respond-async", "x" * 5000):
        answer = waiting.post("ever", [{}], prefer)
        assert answer.status == 202
        assert applied(answer) is None
    assert waiting.post("ever", b"{", f"wait={LONG}").status == 400


def test_no_201_is_taken_back_while_s3_fails(troubled: Waiting) -> None:
    """With answers lost, late and refused, each 201 finds its payload in the bucket, once."""
    troubled.s3.faults(
        Fault(kind="lose_answer", probability=0.3),
        Fault(kind="error", probability=0.3),
        Fault(kind="slow", seconds=0.2, probability=0.3),
    )

    def ask(n: int) -> int:
        answer = troubled.post("failing", [{"n": n}], f"wait={LONG}")
        if answer.status == 201:
            assert troubled.lines("failing").count(b'{"n": %d}' % n) == 1
        return answer.status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, range(32)))
    assert set(statuses) <= {201, 202}
    assert 201 in statuses


def test_a_client_that_leaves_leaves_nothing(troubled: Waiting) -> None:
    """Its payloads are stored all the same, and those that stay get their answers."""
    troubled.s3.faults(HANG)
    with Wire(troubled.service.port) as gone, Wire(troubled.service.port) as here:
        request = post(b"[{}]", "/payloads/left", {**JSON, "Prefer": f"wait={LONG}"})
        gone.send(request)
        here.send(request)
        troubled.s3.wait_until(lambda counts: counts.faults.get("hang", 0) > 0, what="a PUT")
        gone.close()
        troubled.s3.clear()
        assert here.answer().status == 201
    assert len(troubled.lines("left")) == 2
    assert troubled.service.get("/readyz").status == 200


def test_waiting_requests_hold_no_threads(troubled: Waiting) -> None:
    """On the engine a hundred that wait are answered together, and others meanwhile."""
    if troubled.service.settings["ENGINE"] != "granian":
        pytest.skip("other servers hold a thread for each")
    troubled.s3.faults(HANG)
    before = troubled.service.stats()["accepted"]

    def ask(n: int) -> int:
        return troubled.post("held", [{"n": n}], f"wait={LONG}").status

    with ThreadPoolExecutor(100) as pool:
        futures = [pool.submit(ask, n) for n in range(100)]
        troubled.service.wait_stats(lambda stats: stats["accepted"] == before + 100)
        assert not any(future.done() for future in futures)
        assert troubled.service.post("/payloads/other", [{}]).status == 202
        assert troubled.service.get("/stats").status == 200
        troubled.s3.clear()
        assert {future.result() for future in futures} == {201}
