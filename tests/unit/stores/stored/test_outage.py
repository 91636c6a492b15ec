"""`DURABILITY=stored` in a long outage: what was withdrawn does not pile up."""

from pathlib import Path

from tests.support.doubles import DictBucket
from tests.unit.stores.stored.machine import Machine
from workers.errors import NotDurable, StoreUnavailable


def test_withdrawn_jobs_do_not_pile_up(tmp_path: Path, bucket: DictBucket) -> None:
    """Hours without S3: of the jobs that wait for it only those of the last seconds are kept."""
    machine = Machine(tmp_path, bucket)

    def away() -> None:
        raise StoreUnavailable("refused", reason="network", was_sent=False)

    bucket.before_put = away
    for _ in range(100):
        machine.send(b"{}")
        # Full of age, and so sealed though its job cannot go.
        machine.pass_time(0.3)
        machine.intake.seal_due()
        machine.work()
    machine.pass_deadline()
    assert [type(error) for _, error in machine.answers] == [NotDurable] * 100
    assert 0 < sum(machine.backlog.counts().values()) < 10
    assert machine.held_bytes == 0
    bucket.before_put = None
    machine.attempt_all()
    assert bucket.objects == {}
    sent = machine.send(b"{}")
    machine.seal()
    machine.attempt_all()
    assert machine.answers[-1] == (sent, None)
