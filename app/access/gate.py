"""Decides whether a request may go on: its key, what the key allows, and the key's limits.

One for each process. Without an access file there is none, and everything is open.
"""

import os
import threading
from collections.abc import Callable

from app.access.credentials import Forbidden, Header, check, find_key, may_use
from app.access.key_usage import Use
from app.access.limits import Limiter
from app.access.rules import Key, Rules
from app.access.usage_files import UsageFiles
from app.access.watched_file import AccessFile
from app.http.problems import Problem

_REFUSALS = {
    int(use.name.removeprefix("REFUSED_")): use for use in Use if use.name.startswith("REFUSED_")
}


class Gate:
    """Admits requests by the rules in force. Thread-safe; looks at the disk once a second."""

    def __init__(self, file: AccessFile, *, usage: Callable[[], UsageFiles]) -> None:
        self._file = file
        self._make_usage = usage
        self._lock = threading.Lock()
        # Those of this process: files and locks do not survive a fork.
        self._made: tuple[int, UsageFiles, Limiter] | None = None

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self._file.rules

    @property
    def usage(self) -> UsageFiles:
        """The use of keys by this process, and by the service."""
        return self._here()[0]

    def _here(self) -> tuple[UsageFiles, Limiter]:
        made = self._made
        if made is None or made[0] != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made[0] != os.getpid():
                    usage = self._make_usage()
                    made = self._made = (os.getpid(), usage, Limiter(usage.shared))
        return made[1], made[2]

    @property
    def is_wrong(self) -> bool:
        """Whether the file as it is now is wrong, so that older rules are in force."""
        return self._file.wrong

    def admit(self, *, action: str, stream: str | None, header: Header, query: str) -> Key:
        """Return the key of a request that may go on, and count it.

        Raises:
            Unauthorized, Forbidden, TooManyRequests: it may not.
        """
        key = find_key(self._file.rules, header=header, query=query)
        return self.admit_key(key, action=action, stream=stream)

    def admit_key(self, key: Key | None, *, action: str, stream: str | None, size: int = 0) -> Key:
        """Do what `admit` does for a key that is found already; its body has `size` bytes."""
        try:
            key = check(key, action=action, stream=stream)
            self.count(key, size)
        except Problem as problem:
            if key is not None:
                self.count_refusal(key, problem.status)
            raise
        return key

    def count(self, key: Key, size: int = 0) -> None:
        """Count a request of a key that allows it; its body has `size` bytes.

        Raises:
            TooManyRequests: the key is at a limit.
        """
        usage, limiter = self._here()
        usage.look()
        limiter.begin(key, size)
        usage.shared.own.add(key.name, Use.REQUESTS)

    def check_receipt(self, key: Key, stream: str | None) -> None:
        """See that a key may look up a receipt of `stream`; None where that is not known.

        Raises:
            Forbidden: it may not.
        """
        if not may_use(key.streams, stream):
            self.count_refusal(key, 403)
            raise Forbidden("The key does not allow this receipt's stream.")

    def charge(self, key: Key, size: int, *, expected: int) -> None:
        """Count the bytes of a body, as they were sent; the limits know of those `expected`."""
        usage, limiter = self._here()
        usage.shared.own.add(key.name, Use.BYTES, size)
        if size != expected:
            limiter.charge(key, size - expected)

    def count_refusal(self, key: Key, status: int) -> None:
        """Count a response by which a request of a key was refused."""
        use = _REFUSALS.get(status)
        if use is not None:
            self.usage.shared.own.add(key.name, use)
