"""The bounds that keep the project readable: modules, functions, folders, and their roles."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40
MAX_FOLDER_MODULES = 12
FOLDERS = ("app", "benchmarks", "deploy", "tests", "workers")
# Folders of these say their role; pytest's own are not packages.
PACKAGES = ("app", "benchmarks", "workers")

SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [
        *ROOT.glob("*.py"),
        *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")),
    ]
}


def test_no_module_is_long() -> None:
    """A module fits into a head: 300 lines at most."""
    long = {path: text.count("\n") for path, text in SOURCES.items()}
    assert {p: n for p, n in long.items() if n > MAX_MODULE_LINES} == {}


def test_no_function_is_long() -> None:
    """A function fits on a screen: 40 lines at most, from `def` to its end."""
    found = {}
    for path, text in SOURCES.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    found[f"{path}::{node.name}"] = lines
    assert found == {}


def test_no_folder_is_crowded() -> None:
    """A folder can be taken in at a glance: a dozen modules at most, `__init__` not counted."""
    folders = defaultdict(list)
    for path in SOURCES:
        if not path.endswith("__init__.py"):
            folders[str(Path(path).parent)].append(Path(path).name)
    assert {d: sorted(n) for d, n in folders.items() if len(n) > MAX_FOLDER_MODULES} == {}


def test_a_package_says_its_role() -> None:
    """Every folder of the service and of the benchmarks has an `__init__` that says what it is."""
    folders = {Path(path).parent for path in SOURCES if path.startswith(PACKAGES)}
    silent = [
        str(folder)
        for folder in folders
        if not ast.get_docstring(ast.parse(SOURCES.get(f"{folder.as_posix()}/__init__.py", "")))
    ]
    assert sorted(silent) == []
