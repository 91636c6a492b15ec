"""The access file in force: read again when it, or a file with a secret, has changed."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from app.access.access_file import load_rules
from app.access.rules import Rules
from workers.errors import SettingsError

log = logging.getLogger(__name__)

# A change is seen by the first request after this long.
LOOK_SECONDS = 2.0
# What a file is recognised by: device, inode, size, time of change in nanoseconds.
_Stamp = tuple[int, int, int, int] | None


class AccessFile:
    """The rules of one access file. Thread-safe; blocks on the disk where the file has changed.

    Raises (constructor):
        SettingsError: the file is wrong; all mistakes, a line each.
    """

    def __init__(
        self,
        path: Path,
        *,
        secret: Callable[[str], str],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self.wrong = False
        self._path = path
        self._secret = secret
        self._look_seconds = look_seconds
        self._watched: set[Path] = {path}
        self._lock = threading.Lock()
        self._stamps = self._look()
        self._rules = self._load()
        self._next_look = time.monotonic() + look_seconds

    @property
    def rules(self) -> Rules:
        """The rules now; those of a wrong file never replace those in force."""
        if time.monotonic() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._next_look = time.monotonic() + self._look_seconds
                self._refresh()
            finally:
                self._lock.release()
        return self._rules

    def _refresh(self) -> None:
        # Taken before the file is read: one that is replaced meanwhile is read again.
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._rules = self._load()
        except SettingsError as error:
            self.wrong = True
            log.error("access file wrong", extra={"reason": str(error)})  # noqa: TRY400 (no bug)
        else:
            self.wrong = False
            names = list(self._rules.names)
            log.info("access file read", extra={"keys": names})
            self._stamps = self._look()

    def _load(self) -> Rules:
        watched = {self._path}

        def secret(reference: str) -> str:
            kind, _, name = reference.partition(":")
            if kind == "file":
                watched.add(Path(name))
            return self._secret(reference)

        try:
            return load_rules(self._path, secret=secret)
        finally:
            self._watched = watched

    def _look(self) -> dict[Path, _Stamp]:
        return {path: _stamp(path) for path in self._watched}


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
