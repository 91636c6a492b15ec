"""The load and the judge of the promise: each flaw is found, and none where there is none."""

from typing import Any

import pytest

from tests.integration.support.simple_service import simple_service
from tests.support import wait_until
from tests.support.flood import Flood, Plan
from tests.support.oracle import judge
from tests.support.outcomes import Outcome, Receipt
from tests.support.processes import free_port
from tests.support.s3 import FakeS3


def test_the_judge_finds_nothing_where_nothing_is_wrong(s3: FakeS3, client: Any) -> None:
    """Acknowledged, refused and unknown payloads are distinguished; all is where it should be."""
    plan = Plan(requests=70, payloads=(1, 4), threads=3)
    with simple_service(s3, client) as service:
        flood = Flood(service.server_port, plan).run()
    verdict = judge(flood, s3)
    verdict.assert_clean()
    assert flood.statuses == {202: 48, 503: 12}
    outcomes = [outcome.verdict for outcome in flood.outcomes]
    assert (outcomes.count("acked"), outcomes.count("refused")) == (48, 12)
    assert outcomes.count("unknown") == 10
    assert verdict.acked == len(flood.acked)
    assert verdict.refused == len(flood.refused)
    assert verdict.unknown == len(flood.unknown)
    assert verdict.stored >= verdict.acked
    assert 0 < flood.latency(0.5) <= flood.latency(1)


@pytest.mark.parametrize(
    "flaw", ["lost", "twice", "refused_but_stored", "misplaced", "altered", "malformed"]
)
def test_the_judge_finds_each_flaw(s3: FakeS3, client: Any, flaw: str) -> None:
    """Each way to break the promise is found, under its own name and no other."""
    with simple_service(s3, client, flaw=flaw) as service:
        flood = Flood(service.server_port, Plan(requests=20, payloads=2)).run()
    verdict = judge([flood], s3)
    assert list(verdict.faults) == [flaw]
    assert flood.retry_after_missing == (4 if flaw == "malformed" else 0)
    with pytest.raises(AssertionError, match=f"{flaw} [48]"):
        verdict.assert_clean()


def test_a_receipt_for_another_bucket_is_misplaced(s3: FakeS3, client: Any) -> None:
    """The object of a receipt is the whole URL, and another bucket's objects are not found."""
    with simple_service(s3, client) as service:
        flood = Flood(service.server_port, Plan(requests=3)).run()
    s3.create_bucket("other")
    assert list(judge(flood, s3, "other").faults) == ["lost"]
    for key, stored in s3.objects().items():
        client.put_object(Bucket="other", Key=key, Body=stored.body)
    assert list(judge(flood, s3, "other").faults) == ["misplaced"]


def test_a_payload_in_another_partition_is_misplaced(s3: FakeS3, client: Any) -> None:
    """A flood with partitions wants each payload under its own, and goes by the indexes."""
    with simple_service(s3, client) as service:
        flood = Flood(service.server_port, Plan(requests=3, parts=2)).run()
    assert list(judge(flood, s3).faults) == ["misplaced"]
    receipts = [Receipt("", "a", 7, 3, [(0, 1), (4, 4)]), Receipt("", "b", 1, 2, [(2, 3)])]
    promised = Outcome(0, 5, 202, receipts).promised()
    assert promised == {0: ("a", 7), 1: ("a", 8), 4: ("a", 9), 2: ("b", 1), 3: ("b", 2)}


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", ["envelope", "bare", "ndjson"])
def test_a_flood_takes_every_form(s3: FakeS3, client: Any, form: Any, *, compressed: bool) -> None:
    """Envelope, array and lines carry the same payloads, to each stream in turn."""
    plan = Plan(requests=4, payloads=3, streams=("a", "b"), form=form, gzip=compressed, threads=1)
    with simple_service(s3, client) as service:
        flood = Flood(service.server_port, plan).run()
    judge(flood, s3).assert_clean()
    assert sorted(s3.objects()) == [f"payloads/{s}/{n}.gz" for s, n in ("a1", "a3", "b2", "b4")]
    found = {line for _, _, line in s3.lines()} - {b'{"id":1}'}
    assert found == {flood.payload(number) for number in range(12)}


def test_a_flood_sends_nothing_without_a_server(s3: FakeS3) -> None:
    """A connection that cannot be made costs no payload, and a stop ends the attempts."""
    with Flood(free_port(), Plan(threads=2)) as flood:
        wait_until(lambda: flood.connect_errors > 2, timeout=5, what="attempts")
    assert flood.outcomes == []
    verdict = judge(flood, s3)
    assert (verdict.acked, verdict.refused, verdict.unknown) == (0, 0, 0)


def test_a_flood_can_be_waited_for(s3: FakeS3, client: Any) -> None:
    """A test can act on what has happened so far, while the flood goes on."""
    with simple_service(s3, client) as service:
        with Flood(service.server_port, Plan(threads=2)) as flood:
            flood.wait_for("acked", 20)
            flood.wait_for("refused", 3)
        assert len(flood.acked) >= 20
        with pytest.raises(AssertionError, match="acked"):
            flood.wait_for("acked", 10**9, timeout=0.01)
