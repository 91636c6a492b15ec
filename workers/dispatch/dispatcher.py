"""The one thread that joins the two tiers: an idle worker's channel, then a job, which goes in.

The shape is the two-tier channel system of
http://marcio.io/2015/07/handling-1-million-requests-per-minute-with-golang/, without its leak:
there a goroutine per job waited for a channel, which made the bounded queue unbounded again.
"""

from collections.abc import Callable

from workers.dispatch.jobs import JobQueue, Pool


class Dispatcher:
    """Hands jobs to idle workers, inline. `run` is the body of the thread `dispatcher`."""

    def __init__(
        self, *, jobs: JobQueue, idle: Pool, workers: int, on_room: Callable[[], None]
    ) -> None:
        self._jobs = jobs
        self._idle = idle
        self._workers = workers
        self._on_room = on_room

    def run(self) -> None:
        """Dispatch until STOP, then take every worker's channel and end the worker with it.

        An idle channel is the proof that its worker has finished its last job.
        """
        while True:
            # First the channel: a job taken first would wait here, and be counted nowhere.
            channel = self._idle.get()
            job = self._jobs.get()
            if job is None:
                break
            channel.put(job)
            del job
            self._on_room()
        channel.put(None)
        for _ in range(self._workers - 1):
            self._idle.get().put(None)
