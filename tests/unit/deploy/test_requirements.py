"""The packages: what people read and what pip installs are the same, each file by its hash."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LISTS = sorted(path.stem for path in ROOT.glob("requirements*.txt"))


def canonical(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503), without its extras."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def _pinned(requirement: str) -> tuple[str, str]:
    """Return a package and its version; for which Pythons and machines it is comes after them."""
    package, version = requirement.partition(";")[0].strip().split("==")
    return package, version


def listed(name: str) -> dict[str, str]:
    """Return the versions that a list pins, with those of the lists that it includes."""
    found = {}
    for line in (ROOT / f"{name}.txt").read_text().splitlines():
        if line.startswith("-r "):
            found.update(listed(line[3:].removesuffix(".txt")))
        elif line and line[0] != "#":
            package, version = _pinned(line)
            found[canonical(package)] = version
    return found


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Return the version and the hashes of each package in a lock."""
    text = (ROOT / f"{name}.lock").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line and line[0] != "#":
            package, version = _pinned(line.partition(" --hash")[0])
            options = re.findall(r"--\S+", line)
            assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in options)
            found[canonical(package)] = (version, options)
    return found


@pytest.mark.parametrize("name", LISTS)
def test_a_lock_is_its_list_with_hashes(name: str) -> None:
    """`make lock` was run after the last change of a list."""
    lock = locked(name)
    assert {package: version for package, (version, _) in lock.items()} == listed(name), (
        f"{name}.lock is not made of {name}.txt: run `make lock`"
    )
    assert all(hashes for _, hashes in lock.values())


def test_every_lock_has_its_list() -> None:
    """No lock is left over."""
    assert sorted(path.stem for path in ROOT.glob("requirements*.lock")) == LISTS


@pytest.mark.parametrize(
    "name", ["Makefile", "deploy/Dockerfile", "README.md", "docs/operations.md"]
)
def test_what_is_installed_has_a_hash(name: str) -> None:
    """No command of the project's installs from a list: pip would take what the index has now."""
    text = (ROOT / name).read_text()
    assert not re.search(r"-r requirements\S*\.txt", text)
    commands = re.findall(r"pip install[^\n`]*-r requirements\S*", text)
    assert all("--require-hashes" in command for command in commands)
    assert "requirements.lock" in text
