"""`DURABILITY=stored`: which answer a request gets, and when, by what becomes of its object."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bench import balance
from tests.support.doubles import DictBucket
from tests.unit.stores.stored.machine import Machine
from workers.errors import NotConfirmed, NotDurable, ObjectRejected, StoreUnavailable

AWAY = StoreUnavailable("reset", reason="network")
UNSENT = StoreUnavailable("refused", reason="network", was_sent=False)
THROTTLED = StoreUnavailable("SlowDown", reason="throttled")
DENIED = StoreUnavailable("AccessDenied", reason="denied")


@pytest.fixture
def machine(tmp_path: Path, bucket: DictBucket) -> Machine:
    """Make a process's parts."""
    return Machine(tmp_path, bucket)


def test_no_answer_before_the_object(machine: Machine, bucket: DictBucket) -> None:
    """Requests share an object, and are answered once it is verified; then all is counted."""
    first, second = machine.send(b'{"n":1}'), machine.send(b'{"n":2}')
    assert machine.answers == []
    assert balance(machine.totals()) == (0, 0, 0, 0)
    machine.seal()
    assert machine.answers == []
    machine.attempt()
    assert machine.answers == [(first, None), (second, None)]
    assert len(bucket.objects) == 1
    assert balance(machine.totals()) == (2, 2, 0, 0)
    assert machine.held_bytes == 0


def test_what_no_put_was_made_for_is_withdrawn(machine: Machine, bucket: DictBucket) -> None:
    """Refused in time, and nothing of it is stored later: not open, not sealed, not queued."""
    machine.send(b'{"n":1}', stream="open")
    machine.send(b'{"n":2}', stream="sealed")
    machine.seal("sealed")
    machine.pass_deadline()
    assert [type(error) for _, error in machine.answers] == [NotDurable, NotDurable]
    machine.seal()
    machine.attempt_all()
    assert bucket.puts == 0
    assert balance(machine.totals()) == (0, 0, 0, 0)
    assert machine.held_bytes == 0
    assert machine.store.unfinished() == []


@pytest.mark.parametrize(
    ("errors", "answer"),
    [
        ([AWAY], NotConfirmed),
        ([StoreUnavailable("500", reason="server")], NotConfirmed),
        ([StoreUnavailable("?", reason="other")], NotConfirmed),
        ([AWAY, THROTTLED], NotConfirmed),
        ([UNSENT], NotDurable),
        ([THROTTLED], NotDurable),
        ([DENIED, UNSENT], NotDurable),
        ([UNSENT, AWAY], NotConfirmed),
    ],
)
def test_what_a_put_may_have_stored_is_not_confirmed(
    machine: Machine, bucket: DictBucket, *, errors: list[Exception], answer: type[Exception]
) -> None:
    """One attempt without a usable answer is enough; those that were refused store nothing."""
    machine.send(b"{}")
    machine.seal()
    bucket.trouble.extend(errors)
    for _ in errors:
        machine.attempt()
    assert machine.answers == []
    machine.pass_deadline()
    assert [type(error) for _, error in machine.answers] == [answer]
    machine.attempt_all()
    assert bucket.objects == {}
    assert machine.held_bytes == 0


@pytest.mark.parametrize("takes_effect", [True, False])
def test_a_put_that_is_under_way_at_the_deadline(
    machine: Machine, bucket: DictBucket, *, takes_effect: bool
) -> None:
    """Its requests get *not confirmed* in time; what is stored after that is counted."""
    machine.send(b"{}")
    machine.seal()

    def late() -> None:
        machine.pass_deadline()
        if not takes_effect:
            raise AWAY

    bucket.before_put = late
    machine.attempt()
    assert [type(error) for _, error in machine.answers] == [NotConfirmed]
    bucket.before_put = None
    machine.attempt_all()
    assert len(bucket.objects) == bucket.puts - (not takes_effect) == int(takes_effect)
    stored = int(takes_effect)
    assert balance(machine.totals()) == (stored, stored, 0, 0)
    assert machine.held_bytes == 0


def test_a_lost_answer_is_found_before_the_deadline(machine: Machine, bucket: DictBucket) -> None:
    """The next attempt sees that the object is there, and the request is answered 201."""
    sent = machine.send(b"{}")
    machine.seal()
    bucket.lost_answers.add(1)
    machine.attempt()
    assert machine.answers == []
    machine.attempt()
    assert machine.answers == [(sent, None)]
    assert balance(machine.totals()) == (1, 1, 0, 0)


def test_a_collection_over_several_objects(machine: Machine, bucket: DictBucket) -> None:
    """It is answered with the last; with one of them missing it may be stored in part."""
    machine = Machine(machine.root / "few", bucket, OBJECT_MAX_PAYLOADS="2")
    whole = machine.send(b"{}", b"{}", b"{}")
    machine.seal()
    machine.attempt()
    assert machine.answers == []
    machine.attempt()
    assert machine.answers == [(whole, None)]
    machine.send(b"{}", b"{}", b"{}")
    machine.seal()
    machine.attempt()
    machine.pass_deadline()
    assert [type(error) for _, error in machine.answers[1:]] == [NotConfirmed]


def test_a_segment_closes_long_before_its_deadline(machine: Machine) -> None:
    """Those that come last have most of the time still; a new segment takes what comes then."""
    first = machine.send(b"{}").runs[0].segment
    assert machine.send(b"{}").runs[0].segment is first
    machine.pass_time(0.25)
    second = machine.send(b"{}").runs[0].segment
    assert second is not first
    assert first.sealed
    machine.pass_time(0.71)
    assert len(machine.answers) == 2
    assert machine.store.find(second.name) is second


def test_an_object_that_s3_refuses_is_no_dead_letter(machine: Machine, bucket: DictBucket) -> None:
    """It was not accepted: its request is told why, and nothing of it is anywhere."""
    machine.send(b"{}")
    machine.seal()
    bucket.trouble.append(ObjectRejected("EntityTooLarge"))
    machine.attempt_all()
    [(_, error)] = machine.answers
    assert isinstance(error, NotDurable)
    assert "EntityTooLarge" in str(error)
    assert bucket.objects == {}
    assert balance(machine.totals()) == (0, 0, 0, 0)
    assert list((machine.root / "dead").iterdir()) == []


def test_at_a_stop_nothing_waits_longer(machine: Machine, bucket: DictBucket) -> None:
    """What is not stored by then was not accepted; and no file is left of it."""
    machine.send(b"{}")
    machine.committer.stop()
    machine.store.persist()
    assert machine.answers == []
    machine.now += machine.stop_seconds
    machine.store.expire()
    assert [type(error) for _, error in machine.answers] == [NotDurable]
    machine.committer.run()
    assert not [path for path in machine.root.rglob("*") if path.suffix in {".open", ".ready"}]
    assert bucket.objects == {}


def test_when_nothing_watches_the_time_all_are_answered(machine: Machine) -> None:
    """The thread has ended: no request may wait without an end."""
    machine.send(b"{}")
    machine.committer.refuse_all("the thread committer has ended")
    assert [type(error) for _, error in machine.answers] == [NotConfirmed]


def test_line_numbers_hold_where_a_segment_ended_meanwhile(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that was given numbers in a segment that is over is refused; none follows it."""
    segment = machine.send(b"{}").runs[0].segment
    append: Callable[..., object] = machine.committer.append

    def slow(*args: object, **more: object) -> object:
        machine.pass_deadline()
        return append(*args, **more)

    monkeypatch.setattr(machine.committer, "append", slow)
    with pytest.raises(NotDurable):
        machine.send(b"{}")
    monkeypatch.undo()
    assert machine.send(b"{}").runs[0].segment is not segment
