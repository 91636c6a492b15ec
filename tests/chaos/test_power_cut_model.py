"""The model of power cuts and kills, and its mutants: what the model is worth if the code is wrong.

Each mutant takes away one thing that the promise rests on. A model that does not notice is no test.
"""

import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.model.disk import SimDisk
from tests.chaos.model.findings import Figures
from tests.chaos.model.fuse import Died
from tests.chaos.model.run import run_model
from tests.chaos.model.s3 import MemoryS3
from tests.chaos.model.trial import Trial
from workers.errors import ObjectExists, ObjectRejected
from workers.spool import frames
from workers.spool.segment_file import SegmentFile
from workers.spool.survey import Survey
from workers.upload import verified_put
from workers.upload.s3 import PutAnswer
from workers.upload.verified_put import VerifiedPut

pytestmark = pytest.mark.chaos

# In parts, which run beside one another.
PARTS = range(4)
TRIALS, PLAIN_TRIALS, STEP_TRIALS = 150, 150, 20
# A mutant is caught at its first broken trial. The rarest here breaks about one in a hundred.
MUTANT_TRIALS = 2000
# Each is caught within 25 trials from here on.
MUTANT_SEED = 1_000_094


@pytest.mark.parametrize("part", PARTS)
def test_what_is_acknowledged_is_stored_once_where_the_receipt_says(part: int) -> None:
    """Power cuts, kills, a full disk and a bad S3: nothing is lost, doubled or misplaced."""
    figures = run_model(TRIALS, seed=part * TRIALS)
    assert figures.acknowledged > 50 * TRIALS, "the trials accept next to nothing"
    assert figures.cuts > TRIALS / 2
    assert (figures.lost, figures.stored_twice, figures.faults) == (0, 0, ())


def test_a_store_without_conditional_puts_is_no_worse() -> None:
    """A plain PUT of the same bytes under the same key stores nothing twice either."""
    figures = run_model(
        PLAIN_TRIALS, seed=500_000, make=lambda seed: Trial(seed, conditional=False)
    )
    assert figures.acknowledged > 50 * PLAIN_TRIALS
    assert (figures.lost, figures.stored_twice, figures.faults) == (0, 0, ())


class Scripted(Trial):
    """Two groups, a seal and an upload, and the power is cut at a given step of the way."""

    def __init__(self, seed: int, *, step: int) -> None:
        super().__init__(seed)
        self._step = step
        self.finished = False

    def _play(self) -> None:
        self._fuse.left = self._step
        with contextlib.suppress(Died):
            self._start()
            (process,) = self._processes
            for group in ((2, 1), (3, 1, 5)):
                for count in group:
                    self._send(process, stream="a", count=count)
                process.commit()
                self._collect_answers()
            process.seal()
            while process.upload():
                pass
            self.finished = True
        self._fuse.left = None
        self._collect_answers()
        self._cut_power()
        self._end_processes(survivors=[])


def test_a_power_cut_at_each_step_of_a_life() -> None:
    """Every step is one that the power may end at, and each leaves more than one state behind."""
    for step in itertools.count(1):
        trials = [Scripted(seed, step=step) for seed in range(STEP_TRIALS)]
        for trial in trials:
            assert trial.run().clean, f"step {step}"
        if all(trial.finished for trial in trials):
            break
    assert step > 20, "a life has more steps than that"


def test_a_trial_is_its_seed() -> None:
    """What a broken trial did can be done again: the same seed, the same lives and deaths."""
    one, other = Trial(7), Trial(7)
    assert one.run() == other.run()
    assert (len(one.acknowledged), one.cuts) == (len(other.acknowledged), other.cuts)
    assert list(one.acknowledged) == list(other.acknowledged)


# --- Mutants --------------------------------------------------------------------------------------


def is_caught(make: Callable[[int], Trial] = Trial) -> bool:
    """Run trials until one is broken."""
    seeds = range(MUTANT_SEED, MUTANT_SEED + MUTANT_TRIALS)
    return any(_is_broken(run_model(1, seed, make=make)) for seed in seeds)


def _is_broken(figures: Figures) -> bool:
    return bool(figures.lost or figures.stored_twice or figures.faults)


def without_sync(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of `SegmentFile` that does all it did, but for syncing the file."""

    def mutant(self: SegmentFile, *args: Any, **kwargs: Any) -> Any:
        disk = self._disk
        self._disk = _Unsynced(disk)  # type: ignore[assignment]
        try:
            return method(self, *args, **kwargs)
        finally:
            self._disk = disk

    return mutant


class _Unsynced:
    def __init__(self, disk: Any) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)

    def sync(self, file: int) -> None:
        """Do nothing."""


class DirectoryForgotten(SimDisk):
    """Directories are never synced."""

    def sync_directory(self, path: Path) -> None:
        pass

    def sync_names(self, directory: int) -> None:
        pass


class Trusting(MemoryS3):
    """Answers 412 as S3 does, and the uploader takes it for success."""

    def put(self, *args: Any, **kwargs: Any) -> PutAnswer:
        try:
            return super().put(*args, **kwargs)
        except ObjectExists:
            return PutAnswer(etag="e")


class Offended(MemoryS3):
    """A 412 is taken for a refusal of the object."""

    def put(self, *args: Any, **kwargs: Any) -> PutAnswer:
        try:
            return super().put(*args, **kwargs)
        except ObjectExists as error:
            raise ObjectRejected(str(error)) from error


def test_the_model_catches_a_directory_that_is_not_synced() -> None:
    """Mutant a: a segment's name may go with the power, and all that was answered for with it."""
    assert is_caught(lambda seed: Trial(seed, disk=DirectoryForgotten))


class ForgetsEverything(SimDisk):
    """The sync of the whole file system does nothing."""

    def sync_everything(self, file: int) -> None:
        pass


def test_the_model_catches_many_files_that_are_not_synced() -> None:
    """Mutant b': groups of many files are answered for without their one sync."""
    assert is_caught(lambda seed: Trial(seed, disk=ForgetsEverything))


def test_the_model_catches_an_answer_before_the_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant b: no fdatasync before the 202."""
    monkeypatch.setattr(SegmentFile, "sync", without_sync(SegmentFile.sync))
    assert is_caught()


def test_the_model_catches_a_seal_that_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant c: no sync at the seal: a ready file may lose its end after all."""
    monkeypatch.setattr(SegmentFile, "seal", without_sync(SegmentFile.seal))
    assert is_caught()


def test_the_model_catches_a_recovery_that_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant c': what a kill left in the cache is stored, and then its file shrinks."""
    monkeypatch.setattr(SegmentFile, "recover", without_sync(SegmentFile.recover))
    assert is_caught()


@pytest.mark.parametrize("bucket", [Trusting, Offended])
def test_the_model_catches_a_412_that_is_not_looked_into(bucket: type[MemoryS3]) -> None:
    """Mutants d: a 412 taken for success keeps half an object; taken for a refusal, it kills."""
    assert is_caught(lambda seed: Trial(seed, bucket=bucket))


def test_the_model_catches_a_verification_that_says_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant d': the HEAD after a 412 is left out."""

    def believe(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(VerifiedPut, "_resolve", believe)
    assert is_caught()


def test_the_model_catches_a_portal_that_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant d'': a 200 is success, whatever else the answer says."""
    monkeypatch.setattr(verified_put, "_is_believed", lambda *_: True)
    assert is_caught()


def test_the_model_catches_frames_without_a_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant e: the crc is not looked at, so torn frames are taken for whole ones."""
    monkeypatch.setattr(frames, "crc32", lambda *_: 0)
    assert is_caught()


def test_the_model_catches_checksums_without_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant e': the crc is not seeded, so blocks of an older file pass for this one's."""
    monkeypatch.setattr(frames, "seed", lambda _: 0)
    assert is_caught()


def test_the_model_catches_a_torn_tail_left_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant f: recovery seals a file without cutting off its torn tail."""
    real = SegmentFile.recover

    def recover(self: SegmentFile) -> Survey:
        self._disk = _Uncut(self._disk)  # type: ignore[assignment]
        return real(self)

    monkeypatch.setattr(SegmentFile, "recover", recover)
    assert is_caught()


class _Uncut:
    def __init__(self, disk: Any) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)

    def truncate(self, file: int, length: int) -> None:
        """Do nothing."""

    def cut(self, path: Path, length: int) -> None:
        """Do nothing."""


def test_the_model_catches_zeros_behind_a_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant g: what is ready is not cut to its end, and damaged for the one who adopts it."""
    real = SegmentFile.seal

    def seal(self: SegmentFile, **given: Any) -> None:
        self._disk = _Uncut(self._disk)  # type: ignore[assignment]
        real(self, **given)

    monkeypatch.setattr(SegmentFile, "seal", seal)
    assert is_caught()


def test_the_model_catches_zeros_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant g': after a kill each open file that has zeros is put aside."""
    monkeypatch.setattr(frames, "content_end", lambda file: file.seek(0, os.SEEK_END))
    assert is_caught()


def test_the_model_catches_a_refusal_that_is_not_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant f': what a full disk refused stays in the file, and is stored."""
    monkeypatch.setattr(SegmentFile, "roll_back", lambda _: None)
    assert is_caught()


def test_the_model_catches_a_roll_back_that_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant f'': a refusal is undone in the cache only, and a power cut brings it back."""
    monkeypatch.setattr(SegmentFile, "roll_back", without_sync(SegmentFile.roll_back))
    assert is_caught()
