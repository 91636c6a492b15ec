"""What each package must not know: the last sentences of their `__init__`s, held by test."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WEB = ("flask", "werkzeug", "gunicorn", "granian", "click")
S3 = ("boto3", "botocore", "workers.upload")
FILES = ("fcntl", "mmap", "workers.spool.disk", "workers.spool.segment_file", "workers.spool.spool")
# A name forbids the module and everything in it.
MUST_NOT_IMPORT = {
    "workers/settings": (*S3, *FILES, "http", "threading", "workers.pipeline"),
    "workers/segments": (*S3, *FILES, "queue", "workers.intake", "workers.operate"),
    "workers/intake": (*S3, *FILES, "workers.operate"),
    "workers/spool": (
        *("boto3", "botocore", "http", "workers.dispatch", "workers.stores"),
        *("workers.upload", "workers.operate"),
    ),
    "workers/queue": ("boto3", "botocore", "http", *FILES, "workers.upload", "workers.operate"),
    "workers/sqs": ("boto3", "botocore", "http", *FILES, "workers.operate", "workers.pipeline"),
    "workers/keys": (
        *(*S3, "http", "queue", "workers.dispatch", "workers.intake", "workers.stores"),
        *("workers.operate", "workers.pipeline"),
    ),
    "workers/stores": ("boto3", "botocore", "http", "workers.upload", "workers.operate"),
    "workers/dispatch": (*S3, *FILES, "workers.intake", "workers.operate", "workers.stores"),
    "workers/upload": ("queue", "workers.intake", "workers.operate", "workers.pipeline"),
    "workers/figures": (*S3, "http", "threading", "workers.operate", "workers.pipeline"),
    "workers/overview": (
        *S3[:2],
        "http",
        "queue",
        "threading",
        "workers.intake",
        "workers.pipeline",
    ),
    "workers/operate": ("http", "queue", "threading", "workers.intake", "workers.pipeline"),
    "workers/watermarks": (
        *(*S3[:2], "http", "queue", "threading", "workers.intake", "workers.operate"),
        *("workers.pipeline", "workers.queue"),
    ),
    "app/http": ("workers.pipeline", "app.ingest", "app.routes", "app.servers", "app.cli"),
    "app/access": (*WEB, "app.ingest", "app.routes", "app.servers", "app.cli", "app.state"),
    "app/ingest": (*WEB, "app.routes", "app.servers", "app.cli", "app.state"),
    "app/openapi": (*WEB, "workers.pipeline", "app.routes", "app.servers", "app.cli", "app.state"),
    "app/routes": ("gunicorn", "granian", "app.servers", "app.cli"),
    "app/servers": ("flask", "app.routes", "app.cli", "app.ingest.formats.decoding"),
    "app/cli": ("gunicorn", "granian", "workers.pipeline", "app.servers", "app.routes"),
}


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, by each of its names."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{name.name}" for name in names)


@pytest.mark.parametrize("package", MUST_NOT_IMPORT)
def test_a_package_does_not_know(package: str) -> None:
    """No module of the package imports what the package is meant to be ignorant of."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, "the package has moved"
    forbidden = tuple(f"{name}." for name in MUST_NOT_IMPORT[package])
    broken = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path)
        if f"{name}.".startswith(forbidden)
    ]
    assert broken == []


def test_every_package_has_its_rule() -> None:
    """A new package says here what it must not know."""
    folders = {path.parent for top in ("app", "workers") for path in ROOT.glob(f"{top}/*/*.py")}
    assert {path.relative_to(ROOT).as_posix() for path in folders} == set(MUST_NOT_IMPORT)


def test_no_two_packages_import_each_other() -> None:
    """Of two packages at most one knows the other: a reader meets them in an order."""
    packages = {f"{name.replace('/', '.')}." for name in MUST_NOT_IMPORT}
    knows: dict[str, set[str]] = {}
    for package in packages:
        files = (ROOT / package.replace(".", "/")).rglob("*.py")
        names = {f"{name}." for path in files for name in imported(path)}
        knows[package] = {
            other for other in packages - {package} if any(n.startswith(other) for n in names)
        }
    assert {(a, b) for a in packages for b in knows[a] if a < b and a in knows[b]} == set()
