"""The files of another revision of this project, to start the service from."""

import io
import subprocess
import tarfile
from pathlib import Path

from benchmarks import ROOT

SERVICE_FILES = ("gunicorn.conf.py", "wsgi.py", "app", "workers")


def checkout(against: str, *, into: Path) -> Path:
    """Return a directory with the service of a revision: `against` itself if it is a directory.

    The service is started by gunicorn there, with the packages that are installed here; nothing of
    it is imported, so that its modules may be laid out in any way.

    Raises:
        FileNotFoundError: the directory has no service in it.
        subprocess.CalledProcessError: there is no such revision.
    """
    directory = Path(against).resolve()
    if directory.is_dir():
        missing = [name for name in SERVICE_FILES if not (directory / name).exists()]
        if missing:
            raise FileNotFoundError(f"{directory} has no {', '.join(missing)}")
        return directory
    packed = subprocess.run(
        ["git", "archive", "--format=tar", against, "--", *SERVICE_FILES],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(into, filter="data")
    return into


def describe(against: str) -> str:
    """Return a revision's commit and subject; a directory's, if git knows it."""
    directory = Path(against)
    where, revision = (directory, "HEAD") if directory.is_dir() else (ROOT, against)
    found = subprocess.run(
        ["git", "log", "-1", "--format=%h %s", revision],  # noqa: S607
        cwd=where,
        check=False,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return found or str(directory)
