"""Frames: what was written is read, what was torn or rotted is seen, nothing is made up."""

import io
import re
from collections.abc import Sequence

import pytest

from workers.spool import frames
from workers.spool.frames import HEADER, LINES, SEAL, SEAL_BYTES, Damaged, Frame, UnknownFormat

SEED = frames.seed("a-segment")
BODIES = [b"{}", b"", b"x" * 70, b"BBl1 looks like a mark"]


def write(bodies: Sequence[bytes], *, seed: int = SEED) -> bytes:
    """Write a header, a frame per body, and a seal."""
    parts = [frames.prefix(HEADER, b"head", seed), b"head"]
    for body in bodies:
        parts += [frames.prefix(LINES, body, seed), body]
    return b"".join([*parts, frames.seal(len(bodies), sum(map(len, bodies)), seed)])


def read(data: bytes, *, seed: int = SEED) -> tuple[list[Frame], int | None]:
    """Read frames up to the end or the first damage; return them and where that is."""
    found: list[Frame] = []
    try:
        found.extend(frames.read(io.BytesIO(data), seed))
    except Damaged as damage:
        return found, damage.offset
    return found, None


DATA = write(BODIES)
WHOLE = read(DATA)[0]
ENDS = [0, *(frame.end for frame in WHOLE)]


def test_what_was_written_is_read() -> None:
    """Marks, bodies and ends come back, and the last end is the file's."""
    assert [frame.mark for frame in WHOLE] == [HEADER, *[LINES] * len(BODIES), SEAL]
    assert [frame.body for frame in WHOLE[1:-1]] == BODIES
    assert WHOLE[-1].end == len(DATA)


@pytest.mark.parametrize("size", [1, 7, 12, 13, 64])
def test_reading_in_small_pieces_changes_nothing(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames may lie across the pieces that a file is read in."""
    monkeypatch.setattr(frames, "READ_BYTES", size)
    assert read(DATA) == (WHOLE, None)


def test_a_file_cut_anywhere_gives_whole_frames_only() -> None:
    """Wherever a crash tears the tail, whole frames are read and the rest is damage."""
    for cut in range(len(DATA)):
        found, damage = read(DATA[:cut])
        whole = [frame for frame in WHOLE if frame.end <= cut]
        assert found == whole
        assert damage == (None if cut in ENDS else max(end for end in ENDS if end <= cut))


def test_every_flipped_bit_is_noticed() -> None:
    """No single bit can rot without its frame being refused, and no other frame is lost to it."""
    for position in range(len(DATA)):
        for bit in (1, 128):
            rotten = bytearray(DATA)
            rotten[position] ^= bit
            hit = next(frame for frame in WHOLE if position < frame.end)
            if re.match(rb"BB[a-z][0-9A-Za-z]", rotten[hit.start :]) and position < hit.start + 4:
                # What looks like a mark of another version is left to that one.
                with pytest.raises(UnknownFormat):
                    list(frames.salvage(io.BytesIO(rotten), SEED))
                continue
            found = list(frames.salvage(io.BytesIO(rotten), SEED))
            kept = [frame for frame in found if isinstance(frame, Frame)]
            damage = [each.offset for each in found if isinstance(each, Damaged)]
            assert kept == [frame for frame in WHOLE if frame is not hit]
            assert damage == [ENDS[WHOLE.index(hit)]]


def test_zeroes_are_no_frames() -> None:
    """A block that a power cut left zeroed does not pass for an empty frame."""
    assert read(DATA + bytes(4096)) == (WHOLE, len(DATA))
    assert read(bytes(4096)) == ([], 0)


def test_blocks_of_another_segment_are_not_believed() -> None:
    """The checksum is seeded with the name: old bytes in a reused block are not ours."""
    other = write([b"of another"], seed=frames.seed("b-segment"))
    assert read(DATA + other) == (WHOLE, len(DATA))


def test_salvage_finds_what_follows_a_hole() -> None:
    """After a hole of any bytes, even some that look like a mark, reading goes on."""
    hole = b"??BBl1BBh1" + bytes(20)
    found = list(frames.salvage(io.BytesIO(DATA[: ENDS[2]] + hole + DATA[ENDS[2] :]), SEED))
    assert [each.body for each in found if isinstance(each, Frame)] == [f.body for f in WHOLE]
    assert sum(isinstance(each, Damaged) for each in found) == 1


def test_reading_starts_where_the_file_stands() -> None:
    """Offsets count from the start of the file, not of the reading."""
    file = io.BytesIO(b"before" + DATA)
    file.seek(6)
    assert [frame.end - 6 for frame in frames.read(file, SEED)] == ENDS[1:]


def test_a_seal_says_what_the_file_holds() -> None:
    """The last bytes of a sealed file are its count of lines and their bytes."""
    assert frames.read_seal(DATA[-SEAL_BYTES:], SEED) == (len(BODIES), sum(map(len, BODIES)))


@pytest.mark.parametrize(
    "tail",
    [b"", DATA[-SEAL_BYTES + 1 :], bytes(SEAL_BYTES), DATA[:SEAL_BYTES]],
    ids=["nothing", "cut", "zeroes", "another frame"],
)
def test_what_is_no_seal_is_not_taken_for_one(tail: bytes) -> None:
    """A tail that is no seal is damage, as is the seal of another segment."""
    with pytest.raises(Damaged):
        frames.read_seal(tail, SEED)
    with pytest.raises(Damaged):
        frames.read_seal(DATA[-SEAL_BYTES:], frames.seed("b-segment"))


@pytest.mark.parametrize("mark", [LINES, HEADER])
def test_only_a_seal_is_a_seal(mark: bytes) -> None:
    """A run of lines that is as long as a seal is still lines."""
    body = b"0123456789abcde\n"
    assert len(frames.prefix(mark, body, SEED) + body) == SEAL_BYTES
    with pytest.raises(Damaged):
        frames.read_seal(frames.prefix(mark, body, SEED) + body, SEED)
