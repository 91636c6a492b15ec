"""The access file: what it says, and every mistake in it at once."""

import os
from datetime import date
from pathlib import Path

import pytest

from app.access.access_file import load_rules
from app.access.credentials import digest
from app.access.rules import Rules
from app.access.watched_file import AccessFile
from workers.errors import SettingsError

A, B = digest("a").hex(), digest("b").hex()


def secret(reference: str) -> str:
    """Resolve `env:NAME` to the name; anything else is missing."""
    kind, _, name = reference.partition(":")
    if kind != "env":
        raise ValueError("Must be env:NAME or file:/path.")
    return name


def load(path: Path, text: str) -> Rules:
    """Write an access file and read it."""
    path.write_text(text)
    return load_rules(path, secret=secret)


def test_a_key_is_found_by_its_digest(tmp_path: Path) -> None:
    """Two digests are one key, with its scope, its streams, its limits and its last day."""
    rules = load(
        tmp_path / "access.toml",
        f"""
[keys.mobile]
sha256 = ["{A}", "{B}"]
streams = ["mobile-*", "default"]
requests_per_second = 500
expires = 2027-06-30
""",
    )
    key = rules.keys[digest("b")]
    assert key is rules.keys[digest("a")]
    assert (key.name, key.scope, key.expires) == ("mobile", "write", date(2027, 6, 30))
    assert key.requests_per_second == 500
    assert [name in key.streams for name in ("mobile-1", "default", "mobile", "xmobile-1")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("scope", "may"),
    [("write", ["write", "read"]), ("read", ["read"]), ("admin", ["write", "read", "admin"])],
)
def test_scopes(tmp_path: Path, scope: str, may: list[str]) -> None:
    """A writer looks its receipts up, a reader sends nothing, an admin may do all."""
    rules = load(tmp_path / "a.toml", f'[keys.k]\nsha256 = ["{A}"]\nscope = "{scope}"\n')
    key = rules.keys[digest("a")]
    assert [action for action in ("write", "read", "admin") if key.can(action)] == may


def test_webhooks_and_endpoints(tmp_path: Path) -> None:
    """Secrets are resolved, and as the scheme wants them; the stream defaults to the source."""
    rules = load(
        tmp_path / "access.toml",
        """
[cors]
origins = ["https://shop.example"]
[webhooks.github]
scheme = "github"
secrets = ["env:GITHUB"]
[webhooks.svix]
scheme = "standard"
secrets = ["env:whsec_c2VjcmV0"]
stream = "billing"
[endpoints."/v1/batch"]
stream = "segment"
payloads = "/batch"
status = 200
""",
    )
    assert rules.webhooks["github"].secrets == (b"GITHUB",)
    assert rules.webhooks["github"].stream == "github"
    assert rules.webhooks["svix"].secrets == (b"secret",)
    assert rules.endpoints["/v1/batch"].status == 200
    assert rules.cors is not None
    assert rules.cors.allows("https://shop.example")
    assert not rules.cors.allows("https://shop.example.evil")


WRONG = f"""
[acess]
[keys.one]
sha256 = ["{A}"]
[keys.two]
sha256 = ["{A}"]
[keys.three]
sha256 = ["abc"]
scope = "root"
streams = ["UPPER"]
expires = 2027-06-30T00:00:00
[keys.four]
sha256 = ["{B}"]
scope = "admin"
url = true
[cors]
origins = ["shop.example"]
[webhooks.x]
scheme = "gitlab"
[webhooks.y]
scheme = "github"
[webhooks.z]
scheme = "standard"
secrets = ["env:whsec_!", "plain-secret"]
[webhooks.w]
scheme = "hmac"
secrets = ["env:S"]
template = "{{timestamp}}{{bodi}}"
[endpoints."/payloads/x"]
stream = "x"
[endpoints."/v1"]
stream = "x"
payloads = "batch"
"""
PLACES = (
    "acess", "keys.two.sha256", "keys.three.sha256.0", "keys.three.scope", "keys.three.streams.0",
    "keys.three.expires", "keys.four.url", "cors.origins.0", "webhooks.x.scheme",
    "webhooks.y.secrets", "webhooks.z.secrets.0", "webhooks.z.secrets.1", "webhooks.w.header",
    'endpoints."/payloads/x"', 'endpoints."/v1".payloads',
)  # fmt: skip


def test_all_mistakes_are_named_with_their_place(tmp_path: Path) -> None:
    """One message has every mistake, and none of the secrets."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "access.toml", WRONG)
    message = str(caught.value)
    assert [place for place in PLACES if f"  {place}: " not in message] == []
    assert "plain-secret" not in message


@pytest.mark.parametrize("text", ["keys = 1", "[keys]\na = 1", "=", "\xff"])
def test_what_is_no_access_file(tmp_path: Path, text: str) -> None:
    """A file of another shape is refused with a message, never a traceback."""
    path = tmp_path / "access.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match="ACCESS_FILE"):
        load_rules(path, secret=secret)


def test_a_change_is_seen_and_a_mistake_keeps_the_old_rules(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A new key works after the next look; a wrong file changes nothing and is logged once."""
    path = tmp_path / "access.toml"
    path.write_text(f'[keys.a]\nsha256 = ["{A}"]\n')
    file = AccessFile(path, secret=secret, look_seconds=0)
    assert digest("b") not in file.rules.keys
    replace(path, f'[keys.b]\nsha256 = ["{B}"]\n')
    assert set(file.rules.keys) == {digest("b")}
    replace(path, "[keys.b]\nscope = 1\n")
    assert set(file.rules.keys) == set(file.rules.keys) == {digest("b")}
    assert file.wrong
    assert [record.message for record in caplog.records].count("access file wrong") == 1
    path.unlink()
    assert set(file.rules.keys) == {digest("b")}
    replace(path, f'[keys.a]\nsha256 = ["{A}"]\n')
    assert set(file.rules.keys) == {digest("a")}
    assert not file.wrong


def test_a_secret_in_a_file_is_watched_too(tmp_path: Path) -> None:
    """A secret that is replaced in its own file is read again."""
    path, kept = tmp_path / "access.toml", tmp_path / "secret"
    kept.write_text("old")
    path.write_text(f'[webhooks.g]\nscheme = "github"\nsecrets = ["file:{kept}"]\n')
    file = AccessFile(
        path, secret=lambda reference: Path(reference[5:]).read_text(), look_seconds=0
    )
    assert file.rules.webhooks["g"].secrets == (b"old",)
    replace(kept, "newer")
    assert file.rules.webhooks["g"].secrets == (b"newer",)


def replace(path: Path, text: str) -> None:
    """Replace a file as careful programs do: in one step."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)
