"""The dispatcher: first an idle worker's channel, then a job; the end when all are idle."""

import queue
from typing import Any

import pytest

from workers.dispatch.dispatcher import Dispatcher
from workers.dispatch.jobs import Channel, Pool


class Logged(queue.SimpleQueue[Any]):
    """A queue that notes when something is taken from it."""

    def __init__(self, log: list[str], name: str) -> None:
        self._log = log
        self._name = name

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002
        """Take the next thing, as any queue, and note it."""
        self._log.append(self._name)
        return super().get(block, timeout)


@pytest.fixture
def log() -> list[str]:
    """Keep what happened, in order."""
    return []


def dispatch(log: list[str], *, channels: list[Channel], jobs: list[str], workers: int) -> None:
    """Run a dispatcher over channels idle in this order, and jobs with STOP behind them."""
    idle: Pool = Logged(log, "channel")
    for channel in channels:
        idle.put(channel)
    waiting: Any = Logged(log, "job")
    for job in [*jobs, None]:
        waiting.put(job)
    Dispatcher(jobs=waiting, idle=idle, workers=workers, on_room=lambda: log.append("room")).run()


def taken(channel: Channel) -> list[Any]:
    """Empty a channel."""
    return [channel.get_nowait() for _ in range(channel.qsize())]


def test_the_channel_comes_first(log: list[str]) -> None:
    """No job is ever in the dispatcher's hand while it waits for a worker."""
    channel: Channel = queue.SimpleQueue()
    dispatch(log, channels=[channel, channel, channel], jobs=["a", "b"], workers=1)
    assert log == ["channel", "job", "room", "channel", "job", "room", "channel", "job"]


def test_each_job_goes_to_who_is_idle(log: list[str]) -> None:
    """Jobs go in order to the channels in the order in which they were offered."""
    one: Channel = queue.SimpleQueue()
    two: Channel = queue.SimpleQueue()
    dispatch(log, channels=[one, two, two, one, two], jobs=["a", "b", "c"], workers=2)
    assert taken(one) == ["a", None]
    assert taken(two) == ["b", "c", None]


def test_the_end_collects_every_worker(log: list[str]) -> None:
    """After STOP each worker is dismissed once, through the channel that proves it idle."""
    channels: list[Channel] = [queue.SimpleQueue() for _ in range(4)]
    dispatch(log, channels=channels, jobs=[], workers=4)
    assert [taken(channel) for channel in channels] == [[None]] * 4
    assert log.count("channel") == 4


def test_what_is_behind_stop_stays(log: list[str]) -> None:
    """STOP is the end: nothing behind it is handed out."""
    jobs: queue.Queue[Any] = queue.Queue()
    jobs.put(None)
    jobs.put("late")
    channel: Channel = queue.SimpleQueue()
    idle: Pool = queue.SimpleQueue()
    idle.put(channel)
    Dispatcher(jobs=jobs, idle=idle, workers=1, on_room=lambda: log.append("room")).run()
    assert taken(channel) == [None]
    assert jobs.qsize() == 1
    assert log == []
