"""A script started as a shell does it."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def execute(
    command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own; see `Launch`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
