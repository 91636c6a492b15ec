"""docs/design.md: the package table is the folder listing, and the lock table names real locks."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/design.md").read_text()


def section(heading: str) -> str:
    """Return what is under a heading of the second level."""
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_package_table_is_the_folder_listing() -> None:
    """Every package below app/ and workers/ has its row, and every row its package or module."""
    found = {
        f"{top}/{path.name}"
        for top in ("app", "workers")
        for path in (ROOT / top).iterdir()
        if (path / "__init__.py").exists()
    }
    rows = set(re.findall(r"^\| `((?:app|workers)/\w+)` \|", section("Packages"), re.MULTILINE))

    assert rows == found


def test_the_lock_table_names_attributes_of_the_code() -> None:
    """Each `Class._attribute` of the table is assigned in a module that defines the class."""
    modules = [
        path.read_text() for top in ("app", "workers") for path in ROOT.glob(f"{top}/**/*.py")
    ]
    named = re.findall(r"`([A-Z]\w+)\.(_\w+)`", section("Locks"))

    assert named
    for owner, attribute in named:
        assert any(
            re.search(rf"^class {owner}\b", text, re.MULTILINE)
            and re.search(rf"self\.{attribute} = threading\.(Lock|Condition)", text)
            for text in modules
        ), f"{owner}.{attribute}"


def test_the_lock_table_has_every_lock_of_the_code() -> None:
    """A class that makes a lock for itself is in the table."""
    made = re.compile(r"self\.(\w+) = threading\.(?:Lock|RLock|Condition)\((?!self)")
    for top in ("app", "workers"):
        for path in ROOT.glob(f"{top}/**/*.py"):
            for part in re.split(r"^class ", path.read_text(), flags=re.MULTILINE)[1:]:
                owner = re.split(r"\W", part, maxsplit=1)[0]
                for attribute in made.findall(part):
                    assert f"`{owner}.{attribute}`" in section("Locks"), path
