"""What the jobs of running processes fail for, in files for commands: `causes/<process>.json`.

They are news and no state: written without a promise, and worth nothing once they are old.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from workers.dispatch.jobs import Key
from workers.spool.documents import make_directory, write_document

CAUSES = "causes"
# A process shows every second that what it wrote still holds.
FRESH_SECONDS, OLD_SECONDS = 30.0, 86_400.0


class PublishedCauses:
    """The causes of a spool's processes. Methods block on the disk; they do not raise."""

    def __init__(self, root: Path) -> None:
        self._directory = root / CAUSES
        self._published: Mapping[Key, str] = {}

    def publish(self, process: str, causes: Mapping[Key, str]) -> None:
        """Write a process's causes if they have changed, else show that they still hold."""
        path = self._directory / f"{process}.json"
        with contextlib.suppress(OSError):
            if causes == self._published:
                if causes:
                    os.utime(path)
                return
            if causes:
                make_directory(self._directory)
                rows = [[*key, reason] for key, reason in causes.items()]
                write_document(path, {"causes": rows})
                self._drop_old()
            else:
                path.unlink(missing_ok=True)
            self._published = dict(causes)

    def _drop_old(self) -> None:
        """Remove what killed processes have left."""
        for path in self._directory.glob("*.json"):
            if time.time() - path.stat().st_mtime > OLD_SECONDS:
                path.unlink(missing_ok=True)

    def read(self) -> dict[Key, str]:
        """Return the causes of all processes that run now."""
        found: dict[Key, str] = {}
        for path in self._directory.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                if time.time() - path.stat().st_mtime < FRESH_SECONDS:
                    for *key, reason in json.loads(path.read_bytes())["causes"]:
                        found[tuple(map(str, key))] = str(reason)
        return found
