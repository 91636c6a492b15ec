"""The watermark of a queue that machines share: one for the service, published by one process."""

from typing import NamedTuple, Protocol

from workers.errors import QueueError
from workers.upload.s3 import Bucket
from workers.watermarks.watermark import Watermark, watermark_key


class Progress(NamedTuple):
    """The queue's id, and a time before which all that was created is stored or dead (µs)."""

    id: str
    through: int


class SharedProgress(Protocol):
    """What the queue knows. Both methods block on the network, and may raise `QueueError`."""

    def advance(self) -> Progress | None:
        """Return how far the queue is; None where another process publishes it.

        From then on the queue takes no segment that was created before. It never falls.
        """
        ...

    def release(self) -> None:
        """Let another process publish."""
        ...


class QueueWatermark(Watermark):
    """One process's part in the watermark of its queue."""

    def __init__(
        self, progress: SharedProgress, *, bucket: Bucket, place: str, seconds: float
    ) -> None:
        super().__init__(bucket, place=place, seconds=seconds)
        self._progress = progress

    def step(self) -> None:
        """Ask the queue how far it is; publish that, if this process is the one that does.

        The note is looked at before that: one that another process publishes later is not
        replaced, and one from before says no more than this one.
        """
        found = self._progress.advance()
        if found is not None and not self.note.is_known:
            self.note.look(watermark_key(found.id))
            found = self._progress.advance()
        if found is None:
            self.note.forget()
        else:
            self.note.publish(watermark_key(found.id), found.through)

    def finish(self) -> None:
        """Let another process publish at once. There is no last one: others may accept."""
        try:
            self._progress.release()
        except QueueError as error:
            self.note.report(str(error))
