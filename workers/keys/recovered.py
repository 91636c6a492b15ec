"""The key records in a recovered segment file. Blocks on the disk."""

from collections.abc import Callable, Iterator

from workers.keys.keys import Keys
from workers.spool import frames
from workers.spool.disk import Disk
from workers.spool.segment_file import SegmentFile


def key_logger(keys: Keys, *, disk: Disk) -> Callable[[SegmentFile], None]:
    """Return what writes the key records of a recovered file to the key log, synced."""

    def log_keys(file: SegmentFile) -> None:
        # Without a header its payloads go nowhere, and a retry is taken anew.
        if (header := file.read_header()) is not None:
            # Its process may have ended before it synced the file's name.
            disk.sync_directory(file.path.parent)
            keys.recover(header, records_of(file, disk=disk))

    return log_keys


def records_of(file: SegmentFile, *, disk: Disk) -> Iterator[tuple[bytes, int, int]]:
    """Yield each key record in a file with the first line and the count of its lines."""
    with disk.open(file.path) as opened:
        for frame in frames.salvage(opened, frames.seed(file.path.stem)):
            if isinstance(frame, frames.Frame) and frame.record:
                yield frame.record, frame.first_line, frame.lines.count(b"\n")
