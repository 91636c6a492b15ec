"""Both ways to start a script: what runs is the same, and knows as little of the tests."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT, wait_until
from tests.support.launch import Launch, Launched
from tests.support.launch.execute import execute
from tests.support.launch.fork import fork
from tests.support.launch.server import NOT_ELSEWHERE, OURS, PACKAGES

SCRIPT = """#!{python}
import atexit, json, os, sys, time
atexit.register(print, "at the end")
if __name__ == "__main__":
    print(json.dumps({{
        "name": __name__, "argv": sys.argv[1:], "path": sys.path, "cwd": os.getcwd(),
        "environ": dict(os.environ), "modules": sorted(sys.modules), "session": os.getsid(0),
    }}), flush=True)
    if sys.argv[1] == "sleep":
        time.sleep(60)
    sys.exit(eval(sys.argv[1]))
"""

both_ways = pytest.mark.parametrize("launch", [execute, fork])


def start(
    launch: Launch, directory: Path, word: str, *, cwd: Path | None = None
) -> tuple[Launched, Path]:
    """Start the script, by default in a directory of its own."""
    script, log = directory / "script", directory / "log"
    script.write_text(SCRIPT.format(python=sys.executable))
    script.chmod(0o755)
    environ = {"PATH": "/bin", "A": "1", "PYTHONPATH": str(directory)}
    return launch([str(script), word], cwd=cwd or directory, environ=environ, log=log), log


def said(log: Path) -> dict[str, Any]:
    """Return what the script says of itself."""
    found: dict[str, Any] = json.loads(log.read_text().splitlines()[0])
    return found


@pytest.mark.parametrize(("word", "code"), [("0", 0), ("3", 3), ("None", 0), ("'words'", 1)])
@both_ways
def test_a_script_ends_with_its_code(tmp_path: Path, launch: Launch, word: str, code: int) -> None:
    """What it registered for its end is done, and a sentence as its code is printed."""
    launched, log = start(launch, tmp_path, word)
    assert launched.wait(20) == launched.poll() == code
    rest = log.read_text().splitlines()[1:]
    assert "at the end" in rest
    assert ("words" in rest) is (word == "'words'")


@both_ways
def test_a_script_has_its_own_surroundings(tmp_path: Path, launch: Launch) -> None:
    """Its arguments, directory, environment and session, and not those of the tests."""
    launched, log = start(launch, tmp_path, "0")
    assert launched.wait(20) == 0
    seen = said(log)
    assert (seen["name"], seen["argv"], seen["cwd"]) == ("__main__", ["0"], str(tmp_path))
    assert seen["environ"].pop("LC_CTYPE", "") in {"", "C.UTF-8"}
    assert seen["environ"] == {"PATH": "/bin", "A": "1", "PYTHONPATH": str(tmp_path)}
    assert seen["session"] == launched.pid
    assert str(tmp_path) in seen["path"]
    assert str(Path(__file__).parents[3]) not in seen["path"]


def test_a_fork_elsewhere_has_imported_none_of_ours(tmp_path: Path) -> None:
    """A script in another directory finds the packages it needs, and imports its own modules."""
    launched, log = start(fork, tmp_path, "0")
    assert launched.wait(20) == 0
    loaded = said(log)["modules"]
    assert set(PACKAGES) <= set(loaded)
    assert not [name for name in loaded if name.split(".")[0] in NOT_ELSEWHERE]


def test_a_fork_in_the_repository_has_imported_ours(tmp_path: Path) -> None:
    """A service imports no more than the script that names its settings."""
    launched, log = start(fork, tmp_path, "0", cwd=ROOT)
    assert launched.wait(20) == 0
    loaded = said(log)["modules"]
    assert set(OURS) <= set(loaded)
    assert "wsgi" not in loaded


@both_ways
def test_a_script_is_signalled(tmp_path: Path, launch: Launch) -> None:
    """It lives until then; its code is the signal, and another one is for no process."""
    launched, log = start(launch, tmp_path, "sleep")
    with pytest.raises(subprocess.TimeoutExpired):
        launched.wait(0.01)
    wait_until(lambda: log.exists() and b"\n" in log.read_bytes(), timeout=20, what="its start")
    assert launched.poll() is None
    launched.send_signal(signal.SIGTERM)
    assert launched.wait(20) == -signal.SIGTERM
    launched.send_signal(signal.SIGTERM)
