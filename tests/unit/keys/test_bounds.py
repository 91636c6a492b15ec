"""How long keys are remembered, how many, and what becomes of their logs."""

from hashlib import sha256

import pytest

from tests.support.bench import Bench
from tests.unit.keys.conftest import MakeProcess
from tests.unit.keys.samples import LINES, given, kill, places, take
from workers.keys import log
from workers.keys.claim import Claim, missing
from workers.keys.keys import Keys
from workers.keys.records import (
    KeyEntry,
    KeyRecord,
    digest_of,
    pack_entry,
    pack_record,
    scan,
    unpack_entry,
)
from workers.segments.future import Run
from workers.segments.segment import Header
from workers.spool.counters import Field
from workers.stores.committer import InlineCommitter
from workers.stores.memory_store import MemoryStore

NAME = "20261124T005411483262Z-b3c300bdd39237d5"
HEADER = Header(name=NAME, stream="s", bucket="b", key="k", compression="")


def at(bench: Bench, seconds: float) -> None:
    """Set the clock that a process tells ages by."""
    bench.keys._now = bench.keys._index._now = lambda: seconds


def names(bench: Bench) -> list[str]:
    """Return the key logs of the spool."""
    return sorted(path.suffix for path in (bench.spool.root / "keys").glob("*-*"))


def test_a_key_has_its_time(process: MakeProcess) -> None:
    """After `IDEMPOTENCY_SECONDS` the same key is a new request; a clock set back adds to them."""
    bench = process(IDEMPOTENCY_SECONDS=100)
    at(bench, 1000)
    first = take(bench, "a")
    at(bench, 1099)
    assert places(bench, "a") == given(first)
    at(bench, 10)
    assert places(bench, "a") == given(first)
    at(bench, 1100)
    assert places(bench, "a") is None
    second = take(bench, "a")
    assert places(bench, "a") == given(second) != given(first)
    assert bench.totals()[Field.KEYS_DROPPED_EARLY] == 0


def test_the_last_keys_are_remembered(process: MakeProcess) -> None:
    """Beyond `IDEMPOTENCY_MAX_KEYS` the oldest goes, in every process, and is counted."""
    one, other = process(IDEMPOTENCY_MAX_KEYS=2), process(IDEMPOTENCY_MAX_KEYS=2)
    for key in "abc":
        take(one, key)
    for bench in (one, other):
        assert [places(bench, key) is None for key in "abc"] == [True, False, False]
        assert bench.process_spool.counters[Field.KEYS_DROPPED_EARLY] == 1


def test_they_are_in_order_after_a_restart(process: MakeProcess) -> None:
    """Logs are read one after the other, and keys go by age all the same."""
    one, other = process(), process()
    for second, (bench, key) in enumerate([(one, "a"), (other, "b"), (one, "c"), (other, "d")]):
        at(bench, 1000 + second)
        take(bench, key)
    kill(one)
    kill(other)
    last = Bench(one.spool.root, bucket=one.bucket, IDEMPOTENCY_MAX_KEYS=2)
    at(last, 1004)
    last.keys.read()
    last.adopt()
    assert [places(last, key) is None for key in "abcd"] == [True, True, False, False]


def test_logs_without_a_key_are_removed(
    process: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long log is followed by a new one, and goes when the time of its last key is over."""
    monkeypatch.setattr(log, "LOG_BYTES", 300)
    one = process(IDEMPOTENCY_SECONDS=100)
    for second, key in enumerate("abcd"):
        at(one, 1000 + second)
        take(one, key)
    assert len(names(one)) == 2
    at(one, 1102)
    one.keys.tidy()
    assert len(names(one)) == 1
    assert [places(one, key) is None for key in "abcd"] == [True, True, True, False]


def test_logs_of_the_ended_are_removed_by_others(process: MakeProcess) -> None:
    """Once no key of theirs counts any more; those of the living only by themselves."""
    one, other, living = (process(IDEMPOTENCY_SECONDS=100) for _ in range(3))
    for bench in (one, other, living):
        at(bench, 1000)
        take(bench, bench.process_spool.path.name)
    kill(one)
    other.keys.tidy()
    assert len(names(other)) == 3
    at(other, 2000)
    other.keys.tidy()
    assert len(names(other)) == 2


def test_a_log_that_another_removed(process: MakeProcess) -> None:
    """Its keys are not known any more: that is no error."""
    one, other = process(), process()
    take(one, "a")
    assert places(other, "a") is not None
    kill(one)
    for path in (other.spool.root / "keys").glob("*.keys"):
        path.unlink()
    assert places(other, "a") is None


def test_memory_forgets_with_its_process(process: MakeProcess) -> None:
    """Others know the keys of a process in memory mode for as long as it lives."""
    other = process()
    store = MemoryStore(other.spool, max_bytes=1 << 20)
    keys = store.use_keys(other.settings)
    keys.read()
    one = InMemory(store, keys)
    one.take("a")
    assert places(other, "a") is not None
    one.kill()
    assert places(other, "a") is None
    other.keys.tidy()
    assert names(other) == []


class InMemory:
    """A process in memory mode."""

    def __init__(self, store: MemoryStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._committer = InlineCommitter(store)

    def take(self, key: str) -> None:
        """Take a request with a key."""
        claimed = self._keys.claim(digest_of("k", key), sha256(LINES).digest())
        assert isinstance(claimed, Claim)
        segment = self._store.create(HEADER)
        future = self._committer.append([Run(segment, 1, LINES, 3)], claim=claimed)
        future.set_result()
        assert len(future.result()) == 1

    def kill(self) -> None:
        """End it."""
        assert self._keys._known is not None
        self._keys._known.own.close()
        self._keys._known.shared.close()  # type: ignore[attr-defined]
        self._store.directory.leave()


def test_records_and_entries_are_read_as_written() -> None:
    """Each field comes back, and a scan finds what the index needs."""
    whole = KeyRecord(digest_of("k", "a"), b"b" * 32, 7, 3)
    part = KeyRecord(digest_of("k", "b"), b"c" * 32, 8, 9, ((0, 3), (7, 8)), indexed=True)
    packed = [
        pack_entry(pack_record(record), HEADER, first_line=5, count=3) for record in (whole, part)
    ]
    assert [unpack_entry(each) for each in packed] == [
        KeyEntry(whole, 5, 3, HEADER),
        KeyEntry(part, 5, 3, HEADER),
    ]
    assert list(scan(b"".join(packed))) == [
        (whole.digest, 7, True, 0),
        (part.digest, 8, False, len(packed[0])),
    ]
    for cut in range(len(packed[1])):
        with pytest.raises(ValueError, match=r"length|buffer|unpack"):
            unpack_entry(packed[1][:cut])


def test_what_is_missing() -> None:
    """Payloads in none of the entries, as ranges."""
    record = KeyRecord(b"", b"", 0, 10, ((2, 3), (7, 7)))
    entry = KeyEntry(record, 1, 3, HEADER)
    assert missing([entry], 10) == ((0, 1), (4, 6), (8, 9))
    assert missing([], 2) == ((0, 1),)
    assert missing([KeyEntry(KeyRecord(b"", b"", 0, 10), 1, 10, HEADER)], 10) == ()
