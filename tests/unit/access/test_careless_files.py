"""Access files of a careless operator: each is a mistake with a message, and none is a trap."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.access.access_file import MAX_BYTES, MAX_KEYS, load_rules
from app.access.credentials import digest
from app.access.watched_file import AccessFile
from workers.errors import SettingsError
from workers.settings.settings import read_secret

A, B, EMPTY = (digest(key).hex() for key in ("a", "b", ""))
KEY_A, KEY_B = (f'[keys.k]\nsha256 = ["{each}"]\n' for each in (A, B))


def mistake(path: Path, text: str) -> str:
    """Return what is said of an access file."""
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_rules(path, secret=read_secret)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing in it"),
        ("# a comment\n", "nothing in it"),
        (f"a = {'[' * 20_000}", "nested too deeply"),
        (f"a = {'1' * 5_000}", "is not TOML"),
        ("#" * (MAX_BYTES + 1), "is larger than"),
        ("[keys.k]\nexpires = 2027-02-30\n", "is not TOML"),
        (f'[keys.k]\nsha256 = ["{EMPTY}"]\n', "keys.k.sha256: Is the digest of an empty key"),
        (KEY_A + 'expires = "soon"\n', "keys.k.expires: Must be a date"),
        *(
            (KEY_A + f'streams = ["{pattern}"]\n', "keys.k.streams.0: Must be a glob pattern")
            for pattern in ("a[", "a]", "[]", "[z-a]", "[!]", "a/b", "", "a" * 129)
        ),
        ('[webhooks.s]\nscheme = "standard"\nsecrets = ["env:EMPTY_STANDARD"]\n', "secrets.0"),
        ('[webhooks.s]\nscheme = "github"\nsecrets = ["env:BLANK"]\n', "secrets.0"),
        ('[webhooks.s]\nscheme = "none"\nverify_token = ""\n', "webhooks.s.verify_token"),
        ('[endpoints."/a"]\nstream = "a"\nkey = ""\n', 'endpoints."/a".key'),
        ('[endpoints."/a"]\nstream = "_dead"\n', 'endpoints."/a".stream: Must be a stream'),
        ('[webhooks.s]\nscheme = "none"\nstream = "_watermark"\n', "neither _dead nor _watermark"),
        ('[webhooks._dead]\nscheme = "none"\n', "webhooks._dead: A source's name is"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """Nothing that a file may hold is a traceback, or is taken for something else."""
    monkeypatch.setenv("EMPTY_STANDARD", "whsec_")
    monkeypatch.setenv("BLANK", "  ")
    assert said in mistake(tmp_path / "access.toml", text)


@pytest.mark.parametrize(
    "more",
    [
        'template = "a}b{body}"',
        'template = "}{body}"',
        'template = "{body}{body}"',
        'template = "{timestamp}.{body}"',
        'timestamp_header = "X-Time"',
    ],
)
def test_a_template_signs_what_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """A brace too many is a mistake, and so is a timestamp that no signature covers."""
    monkeypatch.setenv("S", "s")
    head = '[webhooks.h]\nscheme = "hmac"\nheader = "X-S"\nsecrets = ["env:S"]\n'
    path = tmp_path / "access.toml"
    assert "webhooks.h.template" in mistake(path, head + more + "\n")
    path.write_text(
        head + 'timestamp_header = "X-Time"\ntemplate = "{timestamp}.{body}"\n', encoding="utf-8"
    )
    assert load_rules(path, secret=read_secret).webhooks


def test_a_secret_written_where_its_name_belongs_is_not_repeated(tmp_path: Path) -> None:
    """The message of a mistake goes to a log."""
    text = '[webhooks.s]\nscheme = "github"\nsecrets = ["env:hunter2", "hunter2", "x:hunter2"]\n'
    said = mistake(tmp_path / "access.toml", text)
    assert said.count("secrets.") == 3
    assert "hunter2" not in said


def test_many_keys_and_many_mistakes_are_bounded(tmp_path: Path) -> None:
    """A file of too many keys is refused before it is looked at, and a message has an end."""
    path = tmp_path / "access.toml"
    many = "".join(f"[keys.k{n}]\n" for n in range(MAX_KEYS + 1))
    assert f"There may be {MAX_KEYS} keys" in mistake(path, many)
    wrong = "".join(f"[cors{n}]\n" for n in range(5_000))
    assert len(mistake(path, wrong).splitlines()) <= 101
    path.write_text("".join(f'[keys.k{n}]\nsha256 = ["{n:064x}"]\n' for n in range(MAX_KEYS)))
    assert len(load_rules(path, secret=read_secret).keys) == MAX_KEYS


def replaced_at(path: Path, text: str) -> Callable[[str], str]:
    """Return what resolves a secret, and replaces a file meanwhile, once."""
    left = [text]

    def secret(_: str) -> str:
        if left:
            new = path.with_suffix(".new")
            new.write_text(left.pop())
            os.replace(new, path)
        return "secret"

    return secret


def test_a_file_replaced_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """The content that is in force at last is that of the last file, at a start and at a change."""
    path = tmp_path / "access.toml"
    webhook = '[webhooks.w]\nscheme = "github"\nsecrets = ["env:X"]\n'
    path.write_text(webhook + KEY_A)
    file = AccessFile(path, secret=replaced_at(path, KEY_B), look_seconds=0)
    assert set(file.rules.keys) == {digest("b")}
    os.utime(path)
    file = AccessFile(path, secret=replaced_at(path, KEY_B), look_seconds=0)
    path.write_text(webhook + KEY_A)
    assert set(file.rules.keys) == {digest("a")}
    assert set(file.rules.keys) == {digest("b")}


def test_an_impossible_name_of_a_secret_is_survived(tmp_path: Path) -> None:
    """A file name with a NUL is a mistake of the file, and the next file is read."""
    path = tmp_path / "access.toml"
    path.write_text(KEY_A)
    file = AccessFile(path, secret=read_secret, look_seconds=0)
    path.write_text('[webhooks.w]\nscheme = "github"\nsecrets = ["file:/a\\u0000b"]\n')
    assert set(file.rules.keys) == set(file.rules.keys) == {digest("a")}
    assert file.wrong
    path.write_text(KEY_B)
    assert set(file.rules.keys) == {digest("b")}
    assert not file.wrong
