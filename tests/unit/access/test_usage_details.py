"""The files of the use of keys: who may read them, and which refusals they count."""

import stat
from pathlib import Path

from app.access.access_file import load_rules
from app.access.credentials import digest
from app.access.gate import Gate
from app.access.usage_files import UsageFiles
from app.access.watched_file import AccessFile
from workers.settings.settings import read_secret


def test_others_may_not_look_at_the_use_of_keys(tmp_path: Path) -> None:
    """The directory is as closed as the rest of the spool, with any umask."""
    UsageFiles(tmp_path / "spool" / "usage")
    assert stat.S_IMODE((tmp_path / "spool" / "usage").stat().st_mode) == 0o750


def test_an_idempotency_key_in_use_is_a_refusal(tmp_path: Path) -> None:
    """A 409 is counted for the access key that it was sent with."""
    path = tmp_path / "access.toml"
    path.write_text(f'[keys.k]\nsha256 = ["{digest("k").hex()}"]\n')
    gate = Gate(AccessFile(path, secret=read_secret), usage=lambda: UsageFiles(tmp_path / "usage"))
    gate.count_refusal(load_rules(path, secret=read_secret).keys[digest("k")], 409)
    assert sum(gate.usage.totals()["k"]) == 1
