"""What a segment file holds, read frame by frame: whole, torn or damaged."""

from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

import msgspec

from workers.segments.segment import Header
from workers.spool import frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a segment file was found to hold: up to which line, bytes of lines, where it ends.

    `tail` is what comes behind `end`: nothing (`whole`), the beginning of a frame that the file
    ends in (`short`), or bytes that are no frame (`torn`). A file that is `damaged` holds bytes
    that no kill and no power cut can have left.
    """

    lines: int
    size: int
    end: int
    sealed: bool
    damaged: bool = False
    tail: Literal["whole", "short", "torn"] = "whole"

    def with_frame(self, frame: frames.Frame) -> "Survey":
        """Return what is found with one more frame; a seal says how many lines there were."""
        if frame.mark == frames.HEADER:
            return replace(self, end=frame.end)
        if frame.mark == frames.SEAL:
            lines, size = frames.unpack_seal(frame)
            damaged = self.damaged or lines != self.lines
            return Survey(lines=lines, size=size, end=frame.end, sealed=True, damaged=damaged)
        return replace(
            self,
            lines=frame.first_line - 1 + frame.body.count(b"\n"),
            size=self.size + len(frame.body),
            end=frame.end,
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


def _tail(damage: frames.Damaged) -> Literal["short", "torn"]:
    return "short" if damage.short else "torn"
