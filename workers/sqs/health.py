"""Whether a queue takes messages, and whether its configuration keeps what a 202 promises."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from workers.errors import QueueError, QueueUnavailable
from workers.sqs.client import SqsQueue
from workers.sqs.message import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

# Between two looks while all is well. After a send that failed, the next is allowed so much later.
LOOK_SECONDS, RETRY_SECONDS = 30.0, 3.0
DAY = 86_400


class SqsHealth:
    """One process's view of its queue. `look` blocks, and is for one thread at a time.

    `unverified` says why the configuration is unknown.
    """

    def __init__(self, sqs: SqsQueue, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.unverified: str | None = None
        self._sqs = sqs
        self._clock = clock
        self._lock = threading.Lock()
        self._failure: tuple[str, float] | None = None
        self._refusal: str | None = None
        self._next_look = -float("inf")

    def failed(self, reason: str) -> str:
        """Take note that a send failed; return why nothing should be accepted."""
        with self._lock:
            self._failure = reason, self._clock()
        return reason

    def look(self) -> str | None:
        """Say why nothing should be accepted now; None where all is well."""
        now = self._clock()
        with self._lock:
            failure = self._failure
        if failure is not None and now - failure[1] < RETRY_SECONDS:
            return failure[0]
        if now >= self._next_look or self._refusal is not None or failure is not None:
            self._refusal = self._ask()
            self._next_look = self._clock() + LOOK_SECONDS
            with self._lock:
                # Another send may have failed meanwhile.
                if self._refusal is None and self._failure == failure:
                    self._failure = None
        return self._refusal

    def _ask(self) -> str | None:
        try:
            found = self._sqs.attributes()
        except QueueUnavailable as error:
            if "AccessDenied" not in str(error):
                return str(error)
            if self.unverified is None:
                log.warning("queue not verified", extra={"reason": str(error)})
            self.unverified = f"its configuration cannot be read: {error}"
            return None
        except QueueError as error:
            return str(error)
        self.unverified = None
        return unusable(found)


def unusable(attributes: Mapping[str, str]) -> str | None:
    """Say why a queue cannot be used; None where it can."""
    most = int(attributes.get("MaximumMessageSize", MAX_MESSAGE_BYTES))
    if most < MAX_MESSAGE_BYTES:
        return f"the queue's MaximumMessageSize is {most}: set it to {MAX_MESSAGE_BYTES}"
    if attributes.get("FifoQueue") == "true":
        return "the queue is a FIFO queue: it must be a standard queue"
    return None


def doubts(attributes: Mapping[str, str]) -> list[str]:
    """Say what bounds the promise of a 202 on this queue."""
    retention = int(attributes.get("MessageRetentionPeriod", 0))
    found = [
        f"after {retention / DAY:g} days (MessageRetentionPeriod) what is not in S3 is lost",
        "VisibilityTimeout is not used: each receive sets its own",
    ]
    if policy := attributes.get("RedrivePolicy"):
        found.append(
            f"RedrivePolicy {policy} would take jobs that wait while S3 is away: remove it"
        )
    return found


def try_server(sqs: SqsQueue, *, max_bytes: int | None, replicas: int) -> str | None:
    """Ask for the queue's configuration; return what bounds the promise. Blocks.

    Raises:
        QueueError: it cannot be used; says why.
    """
    del max_bytes, replicas
    found = sqs.attributes()
    if refusal := unusable(found):
        raise QueueUnavailable(refusal)
    return "; ".join(doubts(found))
