"""The spool's small files: directories and files with their modes, JSON documents replaced whole.

Knows nothing of segments.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec

from workers.spool.counters import CELLS
from workers.spool.disk import DIRECTORY_MODE, FILE_MODE, set_mode


class Retired(msgspec.Struct, forbid_unknown_fields=True):
    """`retired.json`: the sums of the directories that are gone, and the last one's name."""

    last: str = "-"
    cells: Annotated[list[int], msgspec.Meta(min_length=CELLS, max_length=CELLS)] = msgspec.field(
        default_factory=lambda: [0] * CELLS
    )


def read_retired(path: Path) -> Retired:
    """Read the sums; all zero where there is no such file.

    Raises:
        OSError: it cannot be read.
        msgspec.DecodeError: this version does not know its format.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Retired)
    except FileNotFoundError:
        return Retired()


def make_directory(path: Path) -> None:
    """Make a directory, and its parents, if it is not there."""
    is_new = not path.exists()
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    if is_new:
        with contextlib.suppress(PermissionError):
            path.chmod(DIRECTORY_MODE)


def give_to(paths: Iterable[Path], owner: tuple[int, int]) -> None:
    """Give what root owns of these to the user and group that have to read and write it."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(path).st_uid == 0:
                os.chown(path, *owner, follow_symlinks=False)


def create_file(path: Path) -> BinaryIO:
    """Open a file to write it anew."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    set_mode(file, FILE_MODE)
    return os.fdopen(file, "wb")


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Replace a JSON document so that a reader, or a crash, sees the old one or the new one."""
    new = path.with_suffix(".new")
    try:
        with create_file(new) as file:
            file.write(json.dumps(document).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
