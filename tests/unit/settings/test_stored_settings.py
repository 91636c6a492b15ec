"""The settings of `DURABILITY=stored`: no disk, and what a request could not wait for."""

from pathlib import Path

import pytest

from workers.errors import SettingsError
from workers.settings import stored
from workers.settings.settings import load_settings
from workers.settings.stored import counters_directory

STORED = {"S3_BUCKET": "bucket", "DURABILITY": "stored"}


def test_the_spool_is_in_memory() -> None:
    """Wherever `SPOOL_DIR` is: the same place for all of a service, another for another one."""
    found = load_settings({**STORED, "SPOOL_DIR": "/srv/spool"}).spool_dir
    assert found == load_settings(STORED).spool_dir
    assert found != load_settings({**STORED, "PORT": "8000"}).spool_dir
    assert found != load_settings({**STORED, "S3_BUCKET": "other"}).spool_dir
    disk = load_settings({**STORED, "DURABILITY": "disk", "SPOOL_DIR": "/srv/spool"})
    assert disk.spool_dir == Path("/srv/spool")


def test_without_shared_memory_it_is_in_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some platforms have no /dev/shm; one that has no place at all is told so at the start."""
    monkeypatch.setattr(stored, "SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stored_one = counters_directory("bucket", None)
    assert stored_one.parent == tmp_path
    # What was counted in one mode is nothing in another.
    assert counters_directory("bucket", None, durability="queue") != stored_one

    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(SettingsError, match="DURABILITY: it needs"):
        load_settings(STORED)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WATERMARK_SECONDS", "60", "is not offered with DURABILITY=stored"),
        ("STORED_MAX_WAIT_SECONDS", "3", "at most a quarter of REQUEST_SECONDS"),
        ("REQUEST_SECONDS", "0.5", "at most a quarter of REQUEST_SECONDS"),
    ],
)
def test_a_mistake_is_named(name: str, value: str, words: str) -> None:
    """What is right with a disk may not be so without: the start ends with the reason."""
    load_settings({**STORED, "DURABILITY": "disk", name: value})
    with pytest.raises(SettingsError, match=words):
        load_settings({**STORED, name: value})
