"""`flask tail`'s follower: what is written is seen once, whole, and what is not seen is counted."""

import os

import pytest

from tests.support.bench import Bench, MakeBench
from tests.support.figures import process, stored
from workers.figures.published import Published
from workers.operate import tail
from workers.operate.tail import Follower
from workers.segments.naming import Clock, segment_name


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """Make a pipeline in pieces."""
    return make_bench()


def seen(follower: Follower) -> bytes:
    """Return what is new."""
    return b"".join(follower.step())


def open_files() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


def test_what_is_accepted_from_now_on_is_seen_once(bench: Bench) -> None:
    """Of open segments the rest, of new ones all, of other streams nothing; no file stays open."""
    bench.accept(b'{"old":1}', b'{"old":2}')
    before = open_files()
    follower = Follower(bench.spool, "s")
    assert seen(follower) == b""
    bench.accept(b'{"n":1}', b'{"n":2}')
    bench.accept(b'{"other":1}', stream="t")
    assert seen(follower) == b'{"n":1}\n{"n":2}\n'
    bench.accept(b'{"n":3}')
    bench.age()
    bench.accept(b'{"n":4}')
    assert seen(follower) == b'{"n":3}\n{"n":4}\n'
    bench.accept(b'{"n":5}')
    bench.upload_all()
    assert seen(follower) == b'{"n":5}\n'
    assert seen(follower) == b""
    assert follower.skipped() == 0
    follower.close()
    assert open_files() <= before


def test_a_pattern_follows_several_streams(bench: Bench) -> None:
    """As in a shell; streams that appear later too."""
    follower = Follower(bench.spool, "web-*")
    for stream in ("web-a", "other", "web-b"):
        bench.accept(b'{"to":"%s"}' % stream.encode(), stream=stream)
    assert seen(follower) == b'{"to":"web-a"}\n{"to":"web-b"}\n'
    follower.close()


def test_a_slow_follower_skips_and_says_how_much(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than it may be behind is passed over, and counted with the next line that is seen."""
    monkeypatch.setattr(tail, "MAX_BEHIND_BYTES", 1000)
    follower = Follower(bench.spool, "s")
    for n in range(50):
        bench.accept(b'{"n":%02d, "fill":"%s"}' % (n, b"x" * 50))
    assert seen(follower) == b""
    bench.accept(b'{"last":1}')
    assert seen(follower) == b'{"last":1}\n'
    assert follower.skipped() == 50
    bench.accept(b'{"n":51}')
    bench.accept(b'{"n":52}')
    follower.skip()
    bench.age()
    assert seen(follower) == b""
    assert follower.skipped() == 2
    follower.close()


def test_what_is_removed_while_it_is_skipped_is_let_go(bench: Bench) -> None:
    """A file that was uploaded is not held on the disk by one who does not read."""
    follower = Follower(bench.spool, "s")
    [receipt] = bench.accept(b'{"n":1}')
    assert seen(follower) == b'{"n":1}\n'
    bench.accept(b'{"n":2}', b'{"n":3}')
    bench.upload_all()
    before = open_files()
    follower.skip()
    assert open_files() == before - 1
    show_stored(bench, receipt.header.name, payloads=3)
    assert follower.skipped() == 2
    assert follower.skipped() == 0
    follower.close()


def show_stored(bench: Bench, name: str, *, payloads: int) -> None:
    """Let a process show that it has stored a segment."""
    Published(bench.spool.root).write(process(objects=[stored(1, segment=name, payloads=payloads)]))


def test_what_came_and_went_unseen_is_counted(bench: Bench) -> None:
    """A segment that was uploaded between two steps is in the figures of its process."""
    old = segment_name(Clock().tick())
    follower = Follower(bench.spool, "s")
    new = segment_name(Clock().tick())
    published = Published(bench.spool.root)
    published.write(
        process(
            objects=[
                stored(3, segment=new, payloads=7),
                stored(2, segment=segment_name(Clock().tick()), payloads=9, stream="other"),
                stored(1, segment=old, payloads=5),
            ]
        )
    )
    assert follower.skipped() == 7
    assert follower.skipped() == 0
    follower.close()


def test_half_a_frame_is_waited_for(bench: Bench) -> None:
    """A line is seen when all of it is written, and a large one as any other."""
    follower = Follower(bench.spool, "s")
    [receipt] = bench.accept(b'{"n":1}')
    large = b'{"large":"' + b"x" * (3 << 20) + b'"}'
    bench.accept(large)
    path = bench.process_spool.path / f"{receipt.header.name}.open"
    whole = path.read_bytes()
    os.truncate(path, len(whole) - 10)
    assert seen(follower) == b'{"n":1}\n'
    with path.open("ab") as file:
        file.write(whole[-10:])
    assert seen(follower) == large + b"\n"
    follower.close()


def test_a_slow_reader_skips_to_the_last_line_and_no_further(bench: Bench) -> None:
    """Behind the lines of an open file are zeros, which later lines overwrite: those are seen."""
    bench.accept(b'{"old":1}')
    follower = Follower(bench.spool, "s")
    bench.accept(b'{"n":1}')
    follower.skip()
    bench.accept(b'{"n":2}')
    assert seen(follower) == b'{"n":2}\n'
    follower.close()
