"""Answers to a PUT that say less, or more, than that the object is stored."""

from tests.acceptance.service import ServiceFactory, assert_promise_kept
from tests.support.flood import Flood, Plan
from tests.support.s3 import FakeS3, Fault

SMALL = {"OBJECT_MAX_PAYLOADS": 10, "OBJECT_MAX_AGE_SECONDS": 0.2}
PLAN = Plan(threads=2, requests=20, payloads=5)


def test_a_portal_that_answers_200_to_everything_stores_nothing(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """Nothing is called stored while it answers, nothing is a dead letter, and nothing is lost."""
    service = service_factory.start(DURABILITY=durability, **SMALL)
    s3.faults(Fault(kind="portal", methods=("PUT", "HEAD", "GET")))
    flood = Flood(service.port, PLAN).run()
    s3.wait_until(lambda seen: seen.faults.get("portal", 0) >= 10)
    stats = service.stats()
    assert (stats["stored"], stats["dead"]) == (0, 0)
    assert stats["pending"] == len(flood.acked) == 100
    s3.clear()
    assert_promise_kept(service, s3, flood)


def test_a_body_whose_answer_comes_too_late_is_sent_once(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """Every PUT is answered after the timeout: a HEAD finds the object, and no body goes twice."""
    service = service_factory.start(DURABILITY=durability, S3_READ_TIMEOUT_SECONDS=1, **SMALL)
    s3.faults(Fault(kind="late_answer", seconds=60))
    flood = Flood(service.port, PLAN).run()
    service.wait_stats(lambda stats: stats["stored"] == len(flood.acked))
    seen = s3.counts()
    assert seen.requests["PUT"] == seen.stored == seen.faults["late_answer"]
    s3.clear()
    assert_promise_kept(service, s3, flood)
