"""When claims end: those of a group together, and no other."""

from pathlib import Path

import pytest

from tests.unit.keys.conftest import MakeProcess
from tests.unit.keys.samples import claim, take
from workers.errors import KeyInUse
from workers.keys.claim import Claim
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
