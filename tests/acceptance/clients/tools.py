"""What tests need and pip does not bring: a skip where it is missing, on CI a failure."""

import os
from typing import TypeVar

import pytest

Tool = TypeVar("Tool")


def needed(tool: Tool | None, name: str) -> Tool:
    """Return a tool that was found; without it the test is skipped, and fails where CI=true."""
    if tool is None:
        reason = f"{name} is missing: `make test-tools` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return tool
