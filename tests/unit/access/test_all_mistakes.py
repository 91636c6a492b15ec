"""An access file with mistakes of every kind: one message names them all, each with its place."""

from pathlib import Path

import pytest

from app.access.access_file import load_rules
from app.access.credentials import digest
from workers.errors import SettingsError
from workers.settings.settings import read_secret

A = digest("a").hex()


def mistakes(path: Path, text: str) -> set[str]:
    """Return the places that are said to be wrong."""
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_rules(path, secret=read_secret)
    return {line.split(": ")[0].strip() for line in str(caught.value).splitlines()[1:]}


FILE = f"""
[keys.first]
sha256 = ["{A}"]
expires = "soon"

[keys.second]
sha256 = ["x", "{A}"]
scope = "admin"
streams = ["a["]
url = true

[webhooks.github]
scheme = "githib"
secrets = ["env:BRIGADE_TEST_NOT_SET", "file:/nowhere"]

[webhooks.linear]
scheme = "hmac"
secrets = ["plain"]
status = 500
template = "{{body}}{{body}}"

[webhooks.stripe]
scheme = "stripe"
stream = "_dead"

[cors]
origins = ["https://shop.example/"]
max_age_seconds = "long"
"""


def test_a_mistake_hides_no_other(tmp_path: Path) -> None:
    """A table with a mistake is still looked at: its digests, its secrets, what goes together."""
    assert mistakes(tmp_path / "access.toml", FILE) == {
        "keys.first.expires",
        "keys.second.sha256.0", "keys.second.sha256", "keys.second.streams.0", "keys.second.url",
        "webhooks.github.scheme", "webhooks.github.secrets.0", "webhooks.github.secrets.1",
        "webhooks.linear.header", "webhooks.linear.secrets.0", "webhooks.linear.status",
        "webhooks.linear.template",
        "webhooks.stripe.secrets", "webhooks.stripe.stream",
        "cors.origins.0", "cors.max_age_seconds",
    }  # fmt: skip


@pytest.mark.parametrize("origin", ["https://a.example/", "https://a b", "https://a/x", "nullx"])
def test_what_no_browser_sends_is_no_origin(tmp_path: Path, origin: str) -> None:
    """An origin is exact: with a path, or a slash at its end, it would never be one that comes."""
    text = f'[cors]\norigins = ["https://shop.example", "{origin}"]\n'
    assert mistakes(tmp_path / "access.toml", text) == {"cors.origins.1"}


@pytest.mark.parametrize("path", ["/a/../b", "/./a", "/a/.", "/a/.."])
def test_dots_are_no_path(tmp_path: Path, path: str) -> None:
    """Clients resolve these segments before they send, so that nothing would come by that path."""
    text = f'[endpoints."{path}"]\nstream = "x"\n'
    assert mistakes(tmp_path / "access.toml", text) == {f'endpoints."{path}"'}


def test_dots_in_a_name_are_one(tmp_path: Path) -> None:
    """A segment may begin with dots, or have them inside."""
    path = tmp_path / "access.toml"
    path.write_text('[endpoints."/v1.0/.well-known/...a/"]\nstream = "x"\n')
    assert list(load_rules(path, secret=read_secret).endpoints) == ["/v1.0/.well-known/...a/"]
