"""What tests need and `make` does not bring: a skip where it is missing, on CI a failure."""

import os
import shutil
from pathlib import Path
from typing import TypeVar

import pytest

Tool = TypeVar("Tool")
# Where `make test-tools` puts what pip has.
PROGRAMS = Path(__file__).resolve().parents[2] / ".venv-tools/bin"


def needed(tool: Tool | None, name: str) -> Tool:
    """Return a tool that was found; without it the test is skipped, and fails where CI=true."""
    if tool is None:
        reason = f"{name} is missing: `make test-tools` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return tool


def program(name: str) -> str:
    """Return where a program is; without it the test is skipped, and fails where CI=true."""
    # Debian has some in /usr/sbin, which is not in everyone's PATH.
    path = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", ""), "/usr/sbin"])
    return needed(shutil.which(name, path=path), name)
