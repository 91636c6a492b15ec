"""A tool that is missing: seen by the person at the laptop, and not let pass on CI."""

import pytest

from tests.support.tools import needed


def test_a_missing_tool_is_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The skip names the command that installs it."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="make test-tools"):
        needed(None, "chromium")


def test_a_missing_tool_fails_on_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """There `.ci/run` installs it, and a test that is skipped proves nothing."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="make test-tools"):
        needed(None, "chromium")
    assert needed("/usr/bin/chromium", "chromium") == "/usr/bin/chromium"
