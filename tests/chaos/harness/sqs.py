"""The set-up of a run on SQS: machines that share a queue whose calls fail, and S3.

Visibility is not waited for: a run says that it is over, of messages that are renewed too.
"""

import random
from collections.abc import Iterator, Sequence

from tests.chaos.harness.figures import Terms
from tests.chaos.harness.queue import MachinesExperiment
from tests.support.oracle import Verdict
from tests.support.sqs.server import Manner, SqsServer

# What becomes of a call, and how often of a hundred; the others pass.
FAULTS: Sequence[tuple[Manner, int]] = (("lose-answer", 6), ("hang-up", 4), ("throttle", 1))
BATCH_FAULTS: Sequence[tuple[Manner, int]] = (("refuse-last", 3), ("lose-last", 5))


class SqsExperiment(MachinesExperiment):
    """Machines on SQS. No ledger is everyone's there: the bucket is held against the clients."""

    def __init__(self, name: str, terms: Terms, *, sqs: SqsServer) -> None:
        super().__init__(name, terms, STORED_MAX_WAIT_SECONDS=0.05, **sqs.environ())
        self._sqs = sqs

    def fail_calls(self) -> None:
        """Let calls fail, lose their answers, and batches be taken in part."""
        chance = random.Random(self._terms.seed)

        def manner(call: str) -> Manner:
            faults = (*FAULTS, *BATCH_FAULTS) if call == "SendMessageBatch" else FAULTS
            drawn = chance.randrange(100)
            for found, share in faults:
                drawn -= share
                if drawn < 0:
                    return found
            return "pass"

        self._sqs.manner = manner

    def expire(self) -> None:
        """Let every message be visible."""
        self._sqs.expire()

    def is_drained(self) -> bool:
        """Whether no message is left."""
        return self._sqs.left() == 0

    def _settle(self) -> Iterator[str]:
        self._sqs.manner = lambda _: "pass"
        yield from self._drained()

    def watched(self) -> Sequence[str]:
        """Return nothing: what a machine has counted is lost with it."""
        return ()

    def unbalanced(self, verdict: Verdict) -> Iterator[str]:
        """Hold the bucket against the clients, and see that nothing waits in the queue."""
        if (lines := len(self.s3.lines())) != verdict.stored:
            yield f"bucket: {lines} lines, {verdict.stored} of ours"
        if left := self._sqs.left():
            yield f"queue: {left} messages are left"
