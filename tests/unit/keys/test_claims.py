"""When claims end: those of a group together, and no other."""

from pathlib import Path

import pytest

from tests.support.bench import Bench
from tests.support.doubles import BadDisk, DictBucket
from tests.unit.keys.conftest import MakeProcess
from tests.unit.keys.samples import claim, given, places, take
from workers.errors import KeyInUse, NotDurable
from workers.keys.claim import Claim
from workers.keys.keys import KeyedGroup, Keys
from workers.keys.records import digest_of
from workers.keys.shared import SharedFile, claim_place, life_place


def test_claims_end_together_and_signs_of_life_stay(tmp_path: Path) -> None:
    """One step frees all claims of a process: not those of another one, and no sign of life."""
    own, other = SharedFile(tmp_path), SharedFile(tmp_path)
    first, second = claim_place(b"a" * 16), claim_place(b"\xff" * 16)
    foreign, life = claim_place(b"b" * 16), life_place("f" * 32)
    assert all(map(own.lock, (first, second, life)))
    assert other.lock(foreign)
    own.unlock_claims()
    assert [other.is_locked(place) for place in (first, second, life)] == [False, False, True]
    assert own.is_locked(foreign)
    own.close()
    other.close()


def test_a_group_ends_no_claim_of_another_request(process: MakeProcess) -> None:
    """While one key is under way another is accepted: the first stays claimed for all processes."""
    one, other = process(), process()
    claimed = claim(one, "a")
    assert isinstance(claimed, Claim)
    take(one, "b")
    for bench in (one, other):
        with pytest.raises(KeyInUse):
            claim(bench, "a")
    claimed.release()
    assert isinstance(claim(other, "a"), Claim)
    with pytest.raises(KeyInUse):
        claim(one, "a")


def test_a_key_on_its_way_to_safety_is_in_use(
    process: MakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From before its payloads are written until they are counted no process finds a key."""
    one, other = process(), process()
    commit, seen = Keys.commit, []

    def look_before(keys: Keys, group: KeyedGroup) -> None:
        for bench in (one, other):
            with pytest.raises(KeyInUse):
                claim(bench, "a")
            seen.append(bench)
        commit(keys, group)

    monkeypatch.setattr(Keys, "commit", look_before)
    future = take(one, "a")
    assert seen == [one, other]
    assert places(one, "a") == places(other, "a") == given(future)


def test_a_refused_group_leaves_no_place_in_the_index(tmp_path: Path) -> None:
    """What stands where a refused group's entries would have been is not read for its keys."""
    disk = BadDisk()
    bench = Bench(tmp_path / "spool", bucket=DictBucket(), disk=disk)
    bench.keys.read()
    accepted = take(bench, "a")
    disk.full = True
    with pytest.raises(NotDurable):
        take(bench, "b").result()
    assert bench.keys._index.find(digest_of("k", "b")) == ()
    assert places(bench, "a") == given(accepted)
