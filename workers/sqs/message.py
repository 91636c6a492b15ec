"""A segment as a message: its header in the body, its compressed lines in a binary attribute.

Body: JSON with `version`, `header`, `lines` (how many) and `size` (bytes of all). Attribute
`lines`: the lines, compressed by zstd.
"""

from typing import NamedTuple

import msgspec
import zstandard

from workers.segments.segment import Header, MemoryBody, Segment

LINES = "lines"
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html:
# body and attributes of a message, and of a batch.
MAX_MESSAGE_BYTES = 1 << 20
# Bytes of lines in a segment: they fit even if they do not compress, and Base64 is counted.
SEGMENT_LINES_BYTES = 750 << 10
VERSION = 1


class UnreadableMessage(Exception):
    """A message that is no segment of a version that this one knows."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the body of a message says."""

    version: int
    header: Header
    lines: int
    size: int


class Message(NamedTuple):
    """A message as it is sent. `size` is what it takes of a batch, in bytes, rather too much."""

    body: str
    lines: bytes

    @property
    def size(self) -> int:
        """Bytes, with the lines as Base64."""
        return len(self.body) + len(self.lines) * 4 // 3 + 64


class ReceivedBody(MemoryBody):
    """The lines of a received message, and the handle of its last receive."""

    def __init__(self, lines: bytes, *, handle: str) -> None:
        super().__init__()
        self.chunks = [lines]
        self.handle = handle


def pack(segment: Segment) -> Message:
    """Make the message of a segment; the same segment gives the same message."""
    about = About(version=VERSION, header=segment.header, lines=segment.lines, size=segment.size)
    lines = zstandard.ZstdCompressor().compress(b"".join(segment.body.read()))
    return Message(msgspec.json.encode(about).decode(), lines)


def unpack(body: str, lines: bytes, *, handle: str) -> Segment:
    """Make a sealed segment of a message.

    Raises:
        UnreadableMessage: it is none, or not whole.
    """
    try:
        about = msgspec.json.decode(body, type=About)
        # Bounded: a message may be anyone's.
        content = zstandard.ZstdDecompressor().decompress(
            lines, max_output_size=SEGMENT_LINES_BYTES
        )
    except (msgspec.MsgspecError, UnicodeError, zstandard.ZstdError) as error:
        raise UnreadableMessage(f"{type(error).__name__}: {error}") from error
    if about.version != VERSION:
        raise UnreadableMessage(f"version {about.version}")
    if (len(content), content.count(b"\n")) != (about.size, about.lines):
        raise UnreadableMessage("its lines are not those that its body tells of")
    segment = Segment(about.header, ReceivedBody(content, handle=handle))
    segment.lines, segment.size = about.lines, about.size
    segment.sealed = True
    segment.frozen.set()
    return segment
