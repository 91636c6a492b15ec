"""The files in which processes count the use of keys: starts side by side, full disks, damage."""

import logging
import os
from pathlib import Path

import pytest

from app.access import usage_files
from app.access.key_usage import KEYS, KeyUsage, SharedUsage, Use
from app.access.limits import Limiter, TooManyRequests
from app.access.rules import Key, StreamPatterns
from app.access.usage_files import FILE, TOTAL, UsageFiles
from workers.spool.documents import make_directory

LIMITED = Key(name="k", scope="write", streams=StreamPatterns(), bytes_per_second=1000)


def look(usage: UsageFiles) -> None:
    """Look at the other processes' files now."""
    usage._next_look = 0.0
    usage.look()


def test_a_file_that_is_being_made_is_not_taken_for_one_that_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that looks before the new one has its lock removes nothing."""
    watcher = UsageFiles(tmp_path)

    def make_and_look(path: Path) -> None:
        make_directory(path)
        look(watcher)

    monkeypatch.setattr(usage_files, "make_directory", make_and_look)
    usage = UsageFiles(tmp_path)
    usage.shared.own.add("k", Use.REQUESTS, 7)
    look(watcher)
    assert watcher.shared.others("k", Use.REQUESTS) == 7


def test_a_process_that_is_gone_stays_in_the_sums(tmp_path: Path) -> None:
    """Its counters are added up, and its file goes."""
    gone, here = UsageFiles(tmp_path), UsageFiles(tmp_path)
    gone.shared.own.add("k", Use.REQUESTS, 7)
    assert gone._lock is not None
    gone._lock.release()
    look(here)
    assert here.totals()["k"][Use.REQUESTS] == 7
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 1


def test_a_full_disk_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Uses are counted in memory, with a WARNING, and in a file once the disk takes it."""

    def short(file: int, data: bytes, offset: int) -> int:
        return os.write(file, data[: len(data) // 2]) + offset

    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", short)
        usage = UsageFiles(tmp_path)
        usage.shared.own.add("k", Use.REQUESTS)
        look(usage)
        assert usage.totals()["k"][Use.REQUESTS] == 1
        assert caplog.text.count("in memory only") == 1
        assert list(tmp_path.iterdir()) == []
    other = UsageFiles(tmp_path)
    look(usage)
    usage.shared.own.add("k", Use.REQUESTS, 2)
    look(other)
    # What was used before is no use of this moment, which would be held against the limits.
    assert other.shared.others("k", Use.REQUESTS) == 2
    assert other.totals()["k"][Use.REQUESTS] == 3
    assert usage.totals()["k"][Use.REQUESTS] == 3


def test_a_place_that_is_no_directory_is_no_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the disk does not give is left out, and said once."""
    root = tmp_path / "usage"
    root.write_text("")
    usage = UsageFiles(root)
    usage.shared.own.add("k", Use.REQUESTS)
    with caplog.at_level(logging.WARNING):
        look(usage)
        look(usage)
    assert usage.totals()["k"][Use.REQUESTS] == 1
    assert caplog.text.count("cannot be read") == 1


def test_damaged_files_are_survived(tmp_path: Path) -> None:
    """Sums that are no JSON, and a name that is no text, raise nothing in a request."""
    (tmp_path / TOTAL).write_text("{")
    other = UsageFiles(tmp_path)
    here = UsageFiles(tmp_path)
    [path] = [each for each in tmp_path.iterdir() if each.name == other._name]
    with (path / FILE).open("r+b") as file:
        file.write(b"\xff" * 64)
    look(here)
    assert here.totals() == {"\ufffd" * 64: [0] * len(Use)}


def test_names_beyond_the_rows_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Keys that cannot be counted are named in a WARNING, not passed over."""
    own = KeyUsage.anonymous()
    for number in range(KEYS + 10):
        own.add(f"key-{number}", Use.REQUESTS)
    assert caplog.text.count("too many names of keys") == 1


def limiter(now: list[float]) -> Limiter:
    """Return a process's limiter; `now` is its clock."""
    return Limiter(SharedUsage(KeyUsage.anonymous()), clock=lambda: now[0])


def test_bodies_at_one_time_do_not_pass_together() -> None:
    """A hundred connections that begin before any body is here get no more than one burst."""
    here = limiter([0.0])
    begun = 0
    for _ in range(100):
        try:
            here.begin(LIMITED, 100)
        except TooManyRequests:
            break
        begun += 1
    assert begun == 5


def test_what_was_announced_and_did_not_come_is_given_back() -> None:
    """A body that broke off counts as what of it arrived."""
    here = limiter([0.0])
    here.begin(LIMITED, 10_000)
    with pytest.raises(TooManyRequests):
        here.begin(LIMITED, 1)
    here.charge(LIMITED, 100 - 10_000)
    here.begin(LIMITED, 1)


def test_an_hour_of_others_use_does_not_come_at_once() -> None:
    """Files that could not be read for long, and then can be, block no key for hours."""

    class Others:
        """The use by other processes, which suddenly is seen."""

        seen = 0

        def others(self, name: str, use: Use) -> int:
            """Return it."""
            del name, use
            return self.seen

    others, now = Others(), [0.0]
    here = Limiter(others, clock=lambda: now[0])
    here.begin(LIMITED, 1)
    others.seen = 10**12
    with pytest.raises(TooManyRequests) as caught:
        here.begin(LIMITED, 1)
    assert int(caught.value.headers["Retry-After"]) <= 60
