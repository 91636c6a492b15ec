"""Every error of the pipeline, grouped by who has to react.

BucketBrigadeError
├── SettingsError        the operator, before a port opens
├── SpoolError           the operator: the spool directory cannot be used
├── Refusal              the client: nothing of its collection was kept, unless it says so
│   ├── TooManyPayloads    …and it would never fit: send less at once
│   ├── UnknownStream      …and never will be: no such stream is allowed here
│   ├── Full               …there is no room now: come back later
│   ├── Draining           …this process is stopping: come back, another will answer
│   ├── KeyInUse           …its Idempotency-Key is another request's now: come back later
│   ├── KeyReused          …its Idempotency-Key was used with another body
│   ├── NotDurable         …the disk did not take it: come back later
│   └── NotConfirmed       …it may still be kept: the disk failed during the sync
├── StoreError           the worker that talks to S3
│   ├── StoreUnavailable   may pass: tried again without end
│   ├── ObjectExists       the key is taken: look whether it is ours
│   ├── ObjectMissing      no such object
│   └── ObjectRejected     this object will never be taken: a dead letter
├── QueueError           the caller: a queue on a shared engine did not do what was asked
│   ├── QueueUnavailable   …nothing of it was done
│   └── QueueUnconfirmed   …it may have been done
└── Abandoned            the worker: the stop's deadline came first; the job stays on disk
"""


class BucketBrigadeError(Exception):
    """Anything Bucket Brigade raises on purpose."""


class SettingsError(BucketBrigadeError):
    """One or more settings are wrong; the message names them all."""


class SpoolError(BucketBrigadeError):
    """The spool directory cannot be used; the message says why.

    `may_pass` says that it may be usable later without a change of settings: a full disk, say.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class Refusal(BucketBrigadeError):
    """A collection was not accepted, and no part of it was kept (but see `NotConfirmed`)."""


class TooManyPayloads(Refusal):
    """The collection is larger than all the room there is, so waiting would not help."""


class UnknownStream(Refusal):
    """`STREAMS` does not allow the stream."""


class Full(Refusal):
    """Queue and open segment (or the byte budget) are full."""


class Draining(Refusal):
    """The pipeline is stopping and takes nothing more."""


class KeyInUse(Refusal):
    """A request with the same Idempotency-Key is under way, or may have been accepted."""


class KeyReused(Refusal):
    """The Idempotency-Key was accepted with another body."""


class NotDurable(Refusal):
    """The collection could not be made durable; nothing of it was kept."""


class NotConfirmed(Refusal):
    """Whether the collection is durable is unknown: it may still be stored."""


class StoreError(BucketBrigadeError):
    """S3 did not do what was asked."""


class StoreUnavailable(StoreError):
    """The failure may pass. `reason` is a word from `workers.upload.s3_errors.REASONS`.

    `was_sent` is False where the request certainly never reached S3.
    """

    def __init__(self, message: str, *, reason: str, was_sent: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.was_sent = was_sent


class ObjectExists(StoreError):
    """A conditional PUT found the key taken."""


class ObjectMissing(StoreError):
    """The bucket holds no object under that key."""


class ObjectRejected(StoreError):
    """S3 refuses this object itself, whenever it is sent."""


class QueueError(BucketBrigadeError, OSError):
    """The engine of a shared queue did not do what was asked; what is tried again is safe."""


class QueueUnavailable(QueueError):
    """The engine did nothing of what was asked; it may later."""


class QueueUnconfirmed(QueueError):
    """The engine did not answer, or not as it was asked to: it may have done it."""


class Abandoned(BucketBrigadeError):
    """A worker gave a job up because the stop's deadline had come."""
