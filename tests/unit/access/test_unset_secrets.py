"""Secrets that are not there: the message names the variable, unless that could be the secret."""

from pathlib import Path

import pytest

from workers.settings.settings import read_secret


def test_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like a variable's name is repeated: the operator learns which one to set."""
    monkeypatch.delenv("GITHUB_WEBHOOK_SECRET", raising=False)
    with pytest.raises(ValueError, match=r"^GITHUB_WEBHOOK_SECRET is empty or not set\.$"):
        read_secret("env:GITHUB_WEBHOOK_SECRET")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    """A file's name is no secret."""
    path = tmp_path / "secret"
    path.write_text("\n")
    with pytest.raises(ValueError, match=f"^{path} is empty or not set"):
        read_secret(f"file:{path}")


@pytest.mark.parametrize(
    "secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "JBSWY3DPEHPK3PXP", "DEADBEEF", "a_b"]
)
def test_a_secret_in_the_place_of_a_name_is_not_repeated(secret: str) -> None:
    """A secret that was put there by mistake gets into no message and no log."""
    with pytest.raises(ValueError, match=r"^It names a secret that is empty or not set\.$"):
        read_secret(f"env:{secret}")
