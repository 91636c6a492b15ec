"""When to try S3 again: full jitter up to a cap, everybody at once as soon as one gets through."""

import random
import threading
import time

from workers.errors import Abandoned

BASE_SECONDS, CAP_SECONDS = 0.2, 30.0


class Backoff:
    """What the workers share about S3's health."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._successes = 0
        self._waiting = 0
        self._give_up = False

    def wait(self, attempt: int) -> None:
        """Block until it is time for another try after `attempt` failures (from 1).

        The pause is random up to a bound that doubles: full jitter, see
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

        Raises:
            Abandoned: there will be no other try.
        """
        bound = min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt, 20))
        until = time.monotonic() + random.uniform(0, bound)
        with self._changed:
            seen = self._successes
            self._waiting += 1
            while seen == self._successes and not self._give_up:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._waiting -= 1
            if self._give_up:
                raise Abandoned("stopping")

    def record_success(self) -> None:
        """A try got through: let all who wait try now."""
        if self._waiting:
            with self._changed:
                self._successes += 1
                self._changed.notify_all()

    def check(self) -> None:
        """Return at once.

        Raises:
            Abandoned: there will be no other try, so none should begin.
        """
        if self._give_up:
            raise Abandoned("stopping")

    def give_up(self) -> None:
        """Let nobody wait any more, now or later."""
        with self._changed:
            self._give_up = True
            self._changed.notify_all()
