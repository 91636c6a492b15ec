"""The reserve of a file system, over all files of a process, and what speaks against one."""

from pathlib import Path

import pytest

from workers.spool.disk import EXT, Disk
from workers.spool.room import LEAST_RESERVED_BYTES, NEW_FILE_BYTES, RESERVED_FILES, Room, doubts

NFS, TMPFS = 0x6969, 0x01021994


class SmallDisk(Disk):
    """A file system of a few MiB, of which so much is free; counts how often it is asked."""

    def __init__(self, free: int, *, files: int = 1000, kind: int = EXT) -> None:
        self.free, self.files, self.asked = free, files, 0
        self._kind = kind

    def kind(self, path: Path) -> int:
        del path
        return self._kind

    def total_bytes(self, path: Path) -> int:
        del path
        return 8 << 20

    def free_bytes(self, path: Path) -> int:
        del path
        self.asked += 1
        return self.free

    def free_files(self, path: Path) -> int:
        del path
        return self.files


def test_many_small_files_do_not_use_up_the_reserve(tmp_path: Path) -> None:
    """What each of many streams writes counts together: the reserve is the file system's."""
    disk = SmallDisk(2 << 20)
    room = Room(tmp_path, disk=disk)
    written = 0
    for number in range(1 << 20):
        try:
            room.take(500, new_file=number < 120)
        except OSError:
            break
        size = 500 + (NEW_FILE_BYTES if number < 120 else 0)
        disk.free -= size
        written += size
    assert disk.free > LEAST_RESERVED_BYTES * 0.9
    assert written > 900_000
    assert disk.asked < 200


def test_a_refusal_is_asked_about_again(tmp_path: Path) -> None:
    """As soon as there is room lines are taken, without a wait for more of them."""
    disk = SmallDisk(LEAST_RESERVED_BYTES)
    room = Room(tmp_path, disk=disk)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            room.take(1, new_file=True)
    assert room.shortage() is None
    disk.free -= 1
    assert room.shortage() == "the disk is full"
    disk.free = 4 << 20
    room.take(1, new_file=True)


def test_files_run_out_too(tmp_path: Path) -> None:
    """Without inodes to spare no new segment begins; one that has a file goes on."""
    disk = SmallDisk(4 << 20, files=RESERVED_FILES - 1)
    room = Room(tmp_path, disk=disk)
    with pytest.raises(OSError, match="No space"):
        room.take(1, new_file=True)
    assert room.shortage() == "the file system has no room for files"
    room.take(1 << 20, new_file=False)


@pytest.mark.parametrize(
    ("disk", "held", "words"),
    [
        (SmallDisk(4 << 20), 0, []),
        (SmallDisk(3 << 20), 1 << 20, []),
        (SmallDisk(3 << 20), 0, ["SPOOL_MAX_BYTES"]),
        (SmallDisk(4 << 20, kind=TMPFS), 0, ["in memory"]),
        (SmallDisk(4 << 20, kind=NFS), 0, ["type 0x6969"]),
        (SmallDisk(0, kind=NFS), 0, ["type 0x6969", "0 bytes are free"]),
    ],
)
def test_what_speaks_against_a_file_system(
    tmp_path: Path, disk: SmallDisk, held: int, words: list[str]
) -> None:
    """Too small for the spool's bound, in memory, or not known to sync: each is a sentence."""
    found = doubts(tmp_path, disk=disk, held=held, max_bytes=4 << 20)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))
