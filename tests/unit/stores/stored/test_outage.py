"""`DURABILITY=stored` in a long outage: what was withdrawn does not pile up."""

from pathlib import Path

from tests.support.doubles import DictBucket
from tests.unit.stores.stored.machine import Machine
from workers.errors import NotDurable, StoreUnavailable


def test_withdrawn_jobs_do_not_pile_up(tmp_path: Path, bucket: DictBucket) -> None:
    """Hours without S3: of the jobs that wait for it only those of the last seconds are kept."""
    machine = Machine(tmp_path, bucket)
    unsent = StoreUnavailable("refused", reason="network", was_sent=False)
    for _ in range(200):
        bucket.trouble.append(unsent)
        machine.send(b"{}")
        machine.seal()
        while not machine.jobs.empty():
            machine.attempt()
        machine.pass_deadline()
    assert [type(error) for _, error in machine.answers] == [NotDurable] * 200
    assert sum(machine.backlog.counts().values()) <= 2
    assert machine.held_bytes == 0
    bucket.trouble.clear()
    machine.attempt_all()
    assert bucket.objects == {}
    sent = machine.send(b"{}")
    machine.seal()
    machine.attempt_all()
    assert machine.answers[-1] == (sent, None)
