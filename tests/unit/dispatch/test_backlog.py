"""The backlog: one probe per failing cause; a success releases its own cause and no other."""

import random
from typing import Any

import pytest

from tests.unit.dispatch.parking import Clock, make_job, park
from workers.dispatch.backlog import Backlog
from workers.dispatch.backoff import CAP_SECONDS
from workers.dispatch.jobs import Job, Outcome
from workers.errors import StoreUnavailable

AWAY = StoreUnavailable("SlowDown", reason="throttled")
DENIED = StoreUnavailable("AccessDenied", reason="denied")


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every delay its bound."""
    monkeypatch.setattr(random, "uniform", lambda _, high: high)


@pytest.fixture
def clock() -> Clock:
    """Make a clock that stands still."""
    return Clock()


@pytest.fixture
def backlog(clock: Clock) -> Backlog:
    """Make a backlog on that clock."""
    return Backlog(park=park, on_change=lambda: None, clock=clock)


def fail(backlog: Backlog, job: Job, error: Exception = AWAY) -> None:
    """Dispatch a job whose attempt fails."""
    assert backlog.admit(job)
    backlog.failed(job, error)


def take(backlog: Backlog) -> Job | None:
    """Take the next job out, as the feeder does."""
    parked = backlog.next()
    if parked is None:
        return None
    assert parked.segment is not None
    nowhere: Any = None
    return Job(
        parked.segment,
        nowhere,
        outcome=parked.outcome,
        failures=parked.failures,
        probes=parked.probes,
    )


def names(backlog: Backlog) -> list[str]:
    """Take out all that is due; return the names."""
    found = []
    while (job := take(backlog)) is not None:
        found.append(job.segment.name)
    return found


def test_what_would_fail_too_is_parked_without_an_attempt(backlog: Backlog) -> None:
    """Once a bucket fails no other job of it is tried; those of another bucket are."""
    fail(backlog, make_job("a"))
    assert not backlog.admit(make_job("b"))
    assert not backlog.admit(make_job("c", stream="other"))
    assert backlog.admit(make_job("d", bucket="another"))
    assert backlog.counts()["throttled"] == 3


def test_one_job_at_a_time_probes_a_cause(backlog: Backlog, clock: Clock) -> None:
    """When the next try is due one job comes, and no other until its outcome is known."""
    for name in "abc":
        job = make_job(name)
        if backlog.admit(job):
            backlog.failed(job, AWAY)
    assert take(backlog) is None
    clock.now += 0.4
    probe = take(backlog)
    assert probe is not None
    assert take(backlog) is None
    assert not backlog.admit(make_job("d"))
    assert backlog.admit(probe)
    backlog.failed(probe, AWAY)
    clock.now += 0.79
    assert take(backlog) is None
    clock.now += 0.01
    other = take(backlog)
    assert other is not None
    assert other.segment.name == "b"


def test_probes_are_never_rarer_than_the_cap(backlog: Backlog, clock: Clock) -> None:
    """After hours a probe comes every half minute at least."""
    fail(backlog, make_job("a"))
    for _ in range(50):
        clock.now += CAP_SECONDS
        probe = take(backlog)
        assert probe is not None
        backlog.failed(probe, AWAY)
    assert backlog.next_due() == CAP_SECONDS


def test_a_success_releases_its_own_cause_and_no_other(backlog: Backlog, clock: Clock) -> None:
    """A PUT of one stream says nothing of another that is denied."""
    fail(backlog, make_job("a", stream="denied"), DENIED)
    fail(backlog, make_job("b"))
    assert not backlog.admit(make_job("c"))
    clock.now += 0.4
    probe = take(backlog)
    while probe is not None and probe.segment.header.stream == "denied":
        backlog.failed(probe, DENIED)
        probe = take(backlog)
    assert probe is not None
    backlog.succeeded(probe, has_put=True)
    assert names(backlog) == ["c"]
    assert backlog.counts()["denied"] == 1


def test_a_denied_stream_holds_up_no_other(backlog: Backlog) -> None:
    """403 is a cause of the stream's; successes beside it cause no attempt."""
    fail(backlog, make_job("a", stream="denied"), DENIED)
    for number in range(100):
        good = make_job(f"good-{number}")
        assert backlog.admit(good)
        backlog.succeeded(good, has_put=True)
        assert not backlog.admit(make_job(f"bad-{number}", stream="denied"))
        assert take(backlog) is None


def test_what_fails_again_and_again_waits_longer(backlog: Backlog) -> None:
    """A job that fails whenever others succeed does not come back at once each time."""
    bad = make_job("bad")
    fail(backlog, bad)
    for _ in range(2):
        good = make_job("good")
        backlog.succeeded(good, has_put=True)
        again = take(backlog)
        if again is None:
            break
        backlog.failed(again, AWAY)
    else:
        good = make_job("good")
        backlog.succeeded(good, has_put=True)
    assert take(backlog) is None
    assert backlog.next_due() == pytest.approx(0.8)


def test_after_a_put_only_the_disk_holds_a_job_up(backlog: Backlog, clock: Clock) -> None:
    """A removal that fails parks the job as stored; fresh jobs are still uploaded."""
    stored = make_job("a")
    assert backlog.admit(stored)
    stored.outcome = Outcome(stored=1, dead=0)
    backlog.failed(stored, OSError(30, "Read-only file system"))
    assert backlog.admit(make_job("b"))
    another = make_job("c")
    another.outcome = Outcome(stored=1, dead=0)
    assert not backlog.admit(another)
    assert backlog.counts()["disk"] == 2
    clock.now += 0.4
    probe = take(backlog)
    assert probe is not None
    assert probe.outcome == Outcome(stored=1, dead=0)
    backlog.succeeded(probe, has_put=False)
    assert names(backlog) == ["c"]


def test_an_error_of_its_own_parks_a_job_alone(backlog: Backlog, clock: Clock) -> None:
    """What is nobody else's fault holds up nobody else."""
    fail(backlog, make_job("a"), ValueError("odd"))
    assert backlog.admit(make_job("b"))
    assert take(backlog) is None
    clock.now += 0.4
    assert names(backlog) == ["a"]


def test_a_stream_that_waits_for_a_probe_is_held_up(backlog: Backlog, clock: Clock) -> None:
    """Its open segment fills up meanwhile; once the cause is over it is sealed by age again."""
    assert not backlog.is_held_up("b", "s")
    fail(backlog, make_job("a"))
    assert backlog.is_held_up("b", "s")
    assert not backlog.is_held_up("another", "s")
    clock.now += 0.4
    probe = take(backlog)
    assert probe is not None
    assert backlog.is_held_up("b", "s")
    backlog.succeeded(probe, has_put=True)
    assert not backlog.is_held_up("b", "s")


def test_a_cause_that_nobody_waits_for_is_probed_by_what_comes(
    backlog: Backlog, clock: Clock
) -> None:
    """Where the last probe was given up the next fresh job is the probe."""
    fail(backlog, make_job("a"))
    clock.now += 0.4
    probe = take(backlog)
    assert probe is not None
    backlog.abandoned(probe)
    assert not backlog.is_held_up("b", "s")
    fresh = make_job("b")
    assert backlog.admit(fresh)
    assert fresh.probes == (("s3", "b"),)
    assert not backlog.admit(make_job("c"))


def test_one_line_in_the_log_for_each_probe(
    backlog: Backlog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A cause is logged when it begins, at each failed probe and at its end; not for each job."""
    caplog.set_level("INFO")
    started = [make_job(f"{number}") for number in range(8)]
    assert all(map(backlog.admit, started))
    for job in started:
        backlog.failed(job, AWAY)
    for number in range(100):
        assert not backlog.admit(make_job(f"late-{number}"))
    clock.now += 0.4
    probe = take(backlog)
    assert probe is not None
    backlog.failed(probe, AWAY)
    clock.now += 0.8
    probe = take(backlog)
    assert probe is not None
    backlog.succeeded(probe, has_put=True)
    assert [record.message for record in caplog.records] == [
        "put failed",
        "put failed",
        "recovered",
    ]


def test_at_a_stop_nothing_more_is_tried(backlog: Backlog) -> None:
    """After giving up no job is admitted, and none is parked."""
    backlog.give_up()
    assert not backlog.admit(make_job("a"))
    assert backlog.is_empty


def test_a_probe_that_goes_elsewhere_holds_its_cause_no_longer(
    backlog: Backlog, clock: Clock
) -> None:
    """A job that was released to probe one bucket, and is loaded for another, blocks neither."""
    fail(backlog, make_job("1", bucket="new"))
    clock.now += CAP_SECONDS
    parked = backlog.next()
    assert parked is not None
    assert parked.probes
    elsewhere = make_job("1", bucket="old")
    elsewhere.probes = parked.probes
    assert backlog.admit(elsewhere)
    backlog.failed(elsewhere, AWAY)
    fail_now = make_job("2", bucket="new")
    assert backlog.admit(fail_now), "the cause is probed by the next job"


def test_a_put_whose_removal_fails_disproves_its_bucket_s_causes(
    backlog: Backlog, clock: Clock
) -> None:
    """S3 took the object: what waited for S3 goes on, though the disk removes nothing."""
    fail(backlog, make_job("1"))
    waiting = make_job("2")
    assert not backlog.admit(waiting)
    clock.now += CAP_SECONDS
    probe = take(backlog)
    assert probe is not None
    assert backlog.admit(probe)
    probe.outcome = Outcome(stored=1, dead=0)
    backlog.failed(probe, OSError(30, "Read-only file system"), has_put=True)
    assert {key: cause.reason for key, cause in backlog.causes().items()} == {("disk",): "disk"}
    assert names(backlog) == ["2"]
