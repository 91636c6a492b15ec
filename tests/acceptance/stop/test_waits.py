"""A stop does not wait for requests that wait for S3, and they are answered."""

from concurrent.futures import ThreadPoolExecutor

from tests.acceptance.service import ServiceFactory
from tests.acceptance.stop.samples import end, start_again
from tests.support.s3 import FakeS3, Fault


def test_what_waits_at_a_stop_is_a_202_at_once(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """It says that nothing was done about the wait; the payloads go up after the next start."""
    service = service_factory.start(OBJECT_MAX_AGE_SECONDS=600, DRAIN_SECONDS=0.5)
    s3.faults(Fault(kind="hang"))
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(service.post, "/payloads", [{"n": n}], headers={"Prefer": "wait=30"})
            for n in range(4)
        ]
        service.wait_stats(lambda stats: stats["accepted"] == 4)
        assert not any(each.done() for each in asked)
        assert end(service) == 0
        answers = [each.result() for each in asked]
    assert [answer.status for answer in answers] == [202] * 4
    assert {answer.headers["Preference-Applied"] for answer in answers} == {None}
    s3.clear()
    start_again(service)
    service.wait_stats(lambda stats: stats["stored"] == 4)
    assert len(s3.lines()) == 4
