"""A small ext4 on a loop device, which can be cut off as a power cut does."""

import fcntl
import os
import struct
import subprocess
from pathlib import Path

# linux/fs/ext4/ext4.h: _IOR('X', 125, __u32), and what it does with the journal at the end
EXT4_IOC_SHUTDOWN = 0x8004587D
LOGFLUSH, NOLOGFLUSH = 1, 2


class Ext4:
    """A small ext4 in a file, on a loop device."""

    def __init__(self, image: Path, mountpoint: Path) -> None:
        self._image = image
        self.path = mountpoint
        image.touch()
        os.truncate(image, 64 << 20)
        mountpoint.mkdir()
        _run("mkfs.ext4", "-q", "-F", str(image))

    def mount(self) -> None:
        """Mount it; after a cut the journal is replayed."""
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def cut(self, how: int) -> None:
        """Stop everything that goes to the disk, from this instant on."""
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(directory)

    def unmount(self) -> None:
        """Unmount it, even while processes still use it."""
        if os.path.ismount(self.path):
            busy = subprocess.run(["umount", self.path], capture_output=True, check=False)
            if busy.returncode:
                _run("umount", "-l", str(self.path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
