"""The house's rules about itself: who may import whom, and what happens in one place only."""

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from workers import errors

ROOT = Path(__file__).resolve().parents[3]
PATHS = [
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.py"), *ROOT.glob("app/**/*.py"), *ROOT.glob("workers/**/*.py")]
]
# Importing runs this way only: each may import itself and what stands behind it.
LAYERS = ["workers", "app", "wsgi"]
WEB = {"flask", "werkzeug", "gunicorn", "click", "jinja2"}


def layer_of(path: str) -> str:
    """Return which layer a source file belongs to; gunicorn's settings stand where wsgi does."""
    first = path.partition("/")[0].removesuffix(".py")
    return first if first in LAYERS else "wsgi"


@functools.cache
def nodes(path: str) -> list[ast.AST]:
    """Return all nodes of a source file."""
    return list(ast.walk(ast.parse((ROOT / path).read_text())))


@functools.cache
def imports(path: str) -> frozenset[str]:
    """Return the modules that are imported anywhere in a module, functions included."""
    return frozenset(_imports(path))


def _imports(path: str) -> Iterator[str]:
    for node in nodes(path):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{name.name}" for name in names)


def tops(path: str) -> set[str]:
    """Return the top-level packages that a module imports."""
    return {name.partition(".")[0] for name in imports(path)}


def uses(path: str, *, of: str, names: set[str]) -> bool:
    """Whether a module uses `of.name`, or imports such a name from there."""
    return any(f"{of}.{name}" in imports(path) for name in names) or any(
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == of
        for node in nodes(path)
    )


def where(*, of: str, names: set[str]) -> list[str]:
    """Return the files that use any of some names of a module."""
    return sorted(path for path in PATHS if uses(path, of=of, names=names))


@pytest.mark.parametrize("path", PATHS)
def test_imports_run_one_way(path: str) -> None:
    """The chain is wsgi, app, workers: what is behind knows nothing of what is before."""
    allowed = LAYERS[: LAYERS.index(layer_of(path)) + 1]
    assert tops(path) & set(LAYERS) <= set(allowed)


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("workers/")])
def test_the_pipeline_knows_no_web(path: str) -> None:
    """The pipeline can stand behind any web server: it imports no web framework."""
    assert not tops(path) & WEB


# What each package of the HTTP side does not import, beside what stands before it.
UNKNOWN = {
    "app/http/": [
        "flask",
        "gunicorn",
        "app.ingest",
        "app.routes",
        "app.servers",
        "workers.pipeline",
    ],
    "app/ingest/": ["flask", "werkzeug", "gunicorn", "app.routes", "app.servers"],
    "app/routes/": ["gunicorn", "app.servers"],
    "app/servers/": ["flask", "app.routes", "app.ingest.formats", "app.ingest.handler"],
    "app/servers/granian/router.py": ["gunicorn", "granian"],
    "app/servers/granian/bodies.py": ["gunicorn", "granian", "app.ingest"],
    "app/probes.py": ["flask", "app.ingest", "app.servers"],
}


@pytest.mark.parametrize("package", UNKNOWN)
def test_a_package_does_not_know_others(package: str) -> None:
    """Each has one role; `app/__init__.py` and those of the packages say which."""
    paths = [path for path in PATHS if path.startswith(package)]
    assert paths
    for path in paths:
        known = imports(path)
        for unknown in UNKNOWN[package]:
            found = {name for name in known if f"{name}.".startswith(f"{unknown}.")}
            assert not found, f"{path} imports {found}"


def test_no_module_imports_in_a_circle() -> None:
    """The modules can be read in an order in which each knows only those before it."""
    modules = {path.removesuffix(".py").replace("/", "."): path for path in PATHS}
    waiting = {
        name: {other for other in imports(path) if other in modules} - {name}
        for name, path in modules.items()
    }
    while ready := {name for name, needed in waiting.items() if not needed}:
        waiting = {n: needed - ready for n, needed in waiting.items() if n not in ready}
    assert waiting == {}


def test_threads_are_made_in_one_place() -> None:
    """The pipeline owns every thread but those for requests, which are gunicorn's worker's."""
    makers = {"Thread", "Timer"}
    assert where(of="threading", names=makers) == ["workers/threads.py"]
    assert where(of="concurrent.futures", names={"ThreadPoolExecutor"}) == [
        "app/servers/granian/serving.py"
    ]
    assert not any("_thread" in tops(path) for path in PATHS)


def test_the_environment_is_read_in_one_place() -> None:
    """Every setting is in the schema, with its bounds; nothing else looks at the environment."""
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    assert where(of="os", names=names) == ["workers/settings/settings.py"]


def test_boto3_is_called_in_one_place() -> None:
    """One module calls it, and what its failures mean is decided once."""
    assert [path for path in PATHS if "boto3" in tops(path)] == ["workers/upload/s3_client.py"]
    found = sorted(path for path in PATHS if "botocore" in tops(path))
    assert found == [
        "workers/upload/aws_models.py",
        "workers/upload/s3_client.py",
        "workers/upload/s3_errors.py",
    ]


def test_locks_of_files_are_taken_in_three_places() -> None:
    """Who owns a directory is the spool's business, how it is locked the disk's; and keys."""
    found = sorted(path for path in PATHS if "fcntl" in tops(path))
    assert found == [
        "workers/keys/shared.py",
        "workers/spool/disk.py",
        "workers/spool/spool.py",
    ]


@pytest.mark.parametrize("path", PATHS)
def test_a_module_says_what_it_is_for(path: str) -> None:
    """Every module opens with its role."""
    assert ast.get_docstring(cast("ast.Module", nodes(path)[0]))


def test_no_module_polls() -> None:
    """Threads wait for events; only the committer lets a moment pass, once for each busy group."""
    found = [path for path in PATHS if uses(path, of="time", names={"sleep"})]
    assert found == ["workers/stores/committer.py"]


def test_the_tree_of_errors_is_drawn_whole() -> None:
    """The picture at the top of `workers/errors.py` has every error, each under its parent."""
    drawn: dict[str, str] = {}
    parents: dict[int, str] = {}
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        if found := re.match(r"([│ ├└─]*)(\w+)\b", line):
            depth = len(found[1])
            parents[depth] = found[2]
            above = [deep for deep in parents if deep < depth]
            drawn[found[2]] = parents[max(above)] if above else ""
    real = {
        name: cls.__mro__[1].__name__
        for name, cls in vars(errors).items()
        if inspect.isclass(cls) and cls is not errors.BucketBrigadeError
    }
    assert {name: drawn.get(name) for name in real} == real
