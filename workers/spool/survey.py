"""What a segment file holds, read frame by frame: whole, torn or damaged."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

import msgspec

from workers.segments.segment import RUN_BYTES, SEGMENT_BYTES, Header
from workers.spool import frames

# Why a file is in quarantine of which nothing was uploaded.
NO_HEADER, NO_LINES = "its header cannot be read", "nothing in it can be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a segment file was found to hold: up to which line, bytes of lines, where it ends.

    `tail` is what comes behind `end`, up to zeros that the file ends in: nothing (`whole`), the
    beginning of a frame (`short`), or bytes that are no frame (`torn`). A file that is `damaged`
    holds bytes that no kill and no power cut can have left. `has_keys`: lines in it have key
    records.
    """

    lines: int
    size: int
    end: int
    sealed: bool
    damaged: bool = False
    tail: Literal["whole", "short", "torn"] = "whole"
    has_keys: bool = False

    def with_frame(self, frame: frames.Frame) -> "Survey":
        """Return what is found with one more frame; a seal says how many lines there were."""
        if frame.mark == frames.HEADER:
            return replace(self, end=frame.end)
        if frame.mark == frames.SEAL:
            lines, size = frames.unpack_seal(frame)
            damaged = self.damaged or lines != self.lines
            return replace(
                self, lines=lines, size=size, end=frame.end, sealed=True, damaged=damaged
            )
        body = frame.lines
        return replace(
            self,
            lines=frame.first_line - 1 + body.count(b"\n"),
            size=self.size + len(body),
            end=frame.end,
            has_keys=self.has_keys or frame.mark == frames.KEYED,
        )


def survey(file: BinaryIO, crc_seed: int, *, frozen: bool) -> Survey:
    """Read a whole segment file and say what is in it; see `SegmentFile.survey`. Blocks.

    Raises:
        frames.UnknownFormat: another version wrote it.
    """
    found = Survey(lines=0, size=0, end=0, sealed=False)
    torn: tuple[int, Survey] | None = None
    for frame in frames.salvage(file, crc_seed):
        if isinstance(frame, frames.Damaged):
            torn = torn or (frame.offset, replace(found, tail=_tail(frame)))
            continue
        if frame.mark == frames.HEADER:
            decode_header(frame)
        if torn and frame.group > torn[0]:
            torn, found = None, replace(found, damaged=True)
        elif torn:
            torn = torn[0], replace(torn[1], tail="torn")
        found = found.with_frame(frame)
    if torn is None:
        return found
    return replace(found, damaged=True) if frozen else torn[1]


def decode_header(frame: frames.Frame) -> Header:
    """Decode a header whose checksum is right: one that cannot be decoded is another version's."""
    try:
        return msgspec.json.decode(frame.body, type=Header)
    except msgspec.DecodeError as error:
        raise frames.UnknownFormat(frame.start) from error


def _tail(damage: frames.Damaged) -> Literal["whole", "short", "torn"]:
    return "whole" if damage.tail == "blank" else damage.tail


def empty_lines(first: int, end: int, lost: list[tuple[int, int]]) -> Iterator[bytes]:
    """Yield an empty line for each from `first` to before `end`; note them in `lost`."""
    if first < end:
        lost.append((first, end - 1))
        yield b"\n" * (end - first)


def held_bytes(file: BinaryIO, *, length: int, size: int) -> int:
    """Return what a file of `length` takes of the byte budget, with `size` bytes of lines.

    Runs are not counted in the file; each has a prefix there.
    """
    prefixes = length - frames.length_of_first(file) - size
    if prefixes % frames.PREFIX_BYTES:
        prefixes -= frames.SEAL_BYTES
    runs = max(1, prefixes // frames.PREFIX_BYTES)
    return size + runs * RUN_BYTES + SEGMENT_BYTES
