"""What processes show in the queue, on a real server: written by each, read by all."""

import contextlib
import logging
import time

import msgspec
import pytest

from tests.integration.queue.conftest import MakeMachine
from tests.support.figures import process, stored
from tests.support.redis.server import RedisProcess
from workers.figures.history import STEP_SECONDS
from workers.figures.queued import KEEP_SECONDS, QueuedPlace, read_figures
from workers.queue.redis_client import RedisServer
from workers.settings.queue import read_redis_url
from workers.spool.counters import Counters, Field

PREFIX = "{bucket-brigade}"


def place(server: RedisServer, *, refused: int = 0) -> QueuedPlace:
    """Make one process's side of it."""
    counters = Counters.anonymous()
    counters.add(Field.REQUESTS_503, refused)
    return QueuedPlace(server, counters=counters, max_bytes=lambda: 1000)


def older(redis: RedisProcess, seconds: float) -> None:
    """Let what is shown, and the history, have been written some seconds ago."""
    with contextlib.closing(redis.client()) as client:
        for each in client.zrange(f"{PREFIX}:published", 0, -1):
            client.zincrby(f"{PREFIX}:published", -seconds * 1000, each)
        for number, line in enumerate(client.lrange(f"{PREFIX}:history", 0, -1)):
            at, _, counts = line.partition(" ")
            moved = f"{int(at) - int(seconds * 1000)} {counts}"
            client.lset(f"{PREFIX}:history", number, moved)


def test_each_process_is_read_by_all(machine: MakeMachine, shared_redis: RedisProcess) -> None:
    """With when it wrote, by the server's clock, and for a while after its end; nothing stays."""
    one, two = machine().server, machine().server
    first, second = place(one), place(two)
    first.write(process(machine="b", written_at=1.0, keys={"mobile": [3]}))
    second.write(process(machine="a", queued=7))
    found = read_figures(one).processes
    assert [(each.machine, each.queued) for each in found] == [("a", 7), ("b", 0)]
    assert found[1].written_at == pytest.approx(time.time(), abs=5)
    assert found[1].keys == {"mobile": [3]}
    older(shared_redis, KEEP_SECONDS - 5)
    second.write(process(machine="a"))
    assert len(read_figures(one).processes) == 2
    older(shared_redis, 10)
    assert [each.machine for each in read_figures(one).processes] == ["a"]
    second.write(process(machine="a"))
    with contextlib.closing(shared_redis.client()) as client:
        assert client.hlen(f"{PREFIX}:figures") == 1
        for name in ("figures", "published", "history"):
            assert client.ttl(f"{PREFIX}:{name}") > 0
    second.close(process())
    assert read_figures(one).processes == []


def test_the_last_objects_outlive_their_process(machine: MakeMachine) -> None:
    """Each is sent once; the newest of all processes are kept, also after the process's end."""
    server = machine().server
    one, two = place(server), place(server)
    one.write(process(objects=[stored(3), stored(1)]))
    one.write(process(objects=[stored(3), stored(1)]))
    two.write(process(objects=[stored(2)]))
    one.close(process(objects=[stored(4), stored(3), stored(1)]))
    assert [each.at for each in read_figures(server).objects] == [4.0, 3.0, 2.0, 1.0]
    two.write(process(objects=[stored(n) for n in range(60, 10, -1)]))
    assert [each.at for each in read_figures(server).objects] == list(range(60, 10, -1))


def test_the_history_has_one_moment_for_each_step(
    machine: MakeMachine, shared_redis: RedisProcess
) -> None:
    """The first process that comes to it writes the service's counts; refusals are added up."""
    here = machine()
    one, two = place(here.server, refused=2), place(here.server, refused=3)
    segment = here.open()
    here.append((segment, b"1\n2\n"))
    one.write(process())
    for _ in range(3):
        two.write(process())
    moments = read_figures(here.server).moments
    # The clock may have come to the next step meanwhile.
    assert len(moments) <= 2
    assert (moments[0].accepted, moments[0].pending, moments[0].refused) == (2, 2, 2)
    here.seal(segment)
    [job] = here.take()
    here.finish(job)
    older(shared_redis, STEP_SECONDS)
    one.write(process())
    last = read_figures(here.server).moments[-1]
    assert (last.stored, last.pending, last.refused, last.held_bytes) == (2, 0, 5, 0)
    assert last.at == pytest.approx(time.time(), abs=5)
    older(shared_redis, 600)
    assert read_figures(here.server).moments == []


def test_the_queue_itself_is_shown(machine: MakeMachine) -> None:
    """How much it may hold, and how many segments wait there for a worker."""
    here = machine()
    place(here.server).write(process())
    for _ in range(2):
        segment = here.open()
        here.append((segment, b"1\n"))
        here.seal(segment)
    found = read_figures(here.server)
    assert (found.max_bytes, found.ready) == (1000, 2)
    here.take()
    assert read_figures(here.server).ready == 0


def test_figures_are_written_to_a_full_server(
    machine: MakeMachine, shared_redis: RedisProcess
) -> None:
    """An operator sees most of all then how things are."""
    server = machine().server
    with contextlib.closing(shared_redis.client()) as client:
        client.config_set("maxmemory", 1)
        place(server).write(process(refusal="full"))
        client.config_set("maxmemory", 0)
    assert [each.refusal for each in read_figures(server).processes] == ["full"]


def test_documents_of_another_version_are_left_out(
    machine: MakeMachine, shared_redis: RedisProcess
) -> None:
    """What cannot be read is no process, no object, and no error."""
    server = machine().server
    one, two = place(server), place(server)
    one.write(process())
    two.write(process(objects=[stored(1)]))
    with contextlib.closing(shared_redis.client()) as client:
        [first, _] = client.hkeys(f"{PREFIX}:figures")
        client.hset(f"{PREFIX}:figures", first, "not deflated")
        client.lpush(f"{PREFIX}:objects", msgspec.json.encode({"other": 1}))
    found = read_figures(server)
    assert (len(found.processes), len(found.objects)) == (1, 1)


def test_a_server_that_is_away_stops_nothing(
    own_redis: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once; once the server is back figures are shown again, refusals counted once."""
    caplog.set_level(logging.WARNING)
    server = RedisServer(read_redis_url(own_redis.url))
    shown = place(server, refused=4)
    shown.write(process())
    own_redis.kill()
    for _ in range(2):
        shown.write(process(objects=[stored(1)]))
    shown.close(process())
    assert [record.message for record in caplog.records] == ["the console has old figures"]
    own_redis.start()
    shown.write(process(objects=[stored(1)]))
    found = read_figures(server)
    assert (len(found.processes), len(found.objects)) == (1, 1)
    assert found.moments[-1].refused == 4
    server.forget()
