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
# What a file is recognised by: device, inode, size, and the times of change of its content and of
# its entry in nanoseconds.
_Stamp = tuple[int, int, int, int, int] | None


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
        self._lock = threading.Lock()
        # Of the file and of the secrets that it names, each taken before it was read: what is
        # replaced meanwhile is read again.
        self._stamps: dict[Path, _Stamp] = {}
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
        if all(_stamp(path) == stamp for path, stamp in self._stamps.items()):
            return
        try:
            self._rules = self._load()
        except SettingsError as error:
            self.wrong = True
            log.error("access file wrong", extra={"reason": str(error)})  # noqa: TRY400 (no bug)
        else:
            self.wrong = False
            log.info("access file read", extra={"keys": list(self._rules.names)})

    def _load(self) -> Rules:
        self._stamps = {self._path: _stamp(self._path)}

        def secret(reference: str) -> str:
            kind, _, name = reference.partition(":")
            if kind == "file":
                path = Path(name)
                self._stamps[path] = _stamp(path)
            return self._secret(reference)

        return load_rules(self._path, secret=secret)


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except (OSError, ValueError):
        # ValueError: the name holds a NUL.
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
