"""The power cut on a real file system: ext4 on a loop device is shut down under a real pipeline.

Needs root, loop devices and mkfs.ext4; skips, with the reason, where one is missing. The ioctl
loses what ext4 has not written or not journalled; it cannot lose what a disk says it has.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.ext4.file_system import LOGFLUSH, NOLOGFLUSH, Ext4
from tests.chaos.ext4.service import DirectoryBucket, Service

pytestmark = pytest.mark.chaos


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Ext4]:
    """Mount a fresh ext4, or skip."""
    if os.geteuid() != 0:
        pytest.skip("a real power cut needs root (loop mount)")
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("a real power cut needs mkfs.ext4 (e2fsprogs)")
    disk = Ext4(tmp_path / "image", tmp_path / "ext4")
    try:
        disk.mount()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a real power cut needs loop devices: {error.stderr.strip()}")
    try:
        yield disk
    finally:
        disk.unmount()


def test_what_ext4_had_synced_is_stored_once_after_cuts(ext4: Ext4, tmp_path: Path) -> None:
    """Three cuts under load, journal flushed or not: every acknowledged payload is stored once."""
    objects = tmp_path / "bucket"
    objects.mkdir()
    acknowledged: dict[int, tuple[str, int]] = {}
    for life, how in enumerate((NOLOGFLUSH, LOGFLUSH, NOLOGFLUSH), 1):
        with Service(ext4.path / "spool", objects, first_id=life * 1_000_000) as service:
            for count, (numbers, receipts) in enumerate(service.answers()):
                lines = [(key, first + n) for key, first, many in receipts for n in range(many)]
                acknowledged.update(zip(numbers, lines, strict=True))
                if count == 300 * life:
                    service.halt()
                    ext4.cut(how)
                    service.kill()
        ext4.unmount()
        ext4.mount()
    with Service(ext4.path / "spool", objects) as service:
        ((accepted, stored, dead),) = service.answers()
    found: dict[int, list[tuple[str, int]]] = {}
    for key, number, line in DirectoryBucket(objects).lines():
        found.setdefault(json.loads(line)["id"], []).append((key, number))
    assert len(acknowledged) > 1500
    assert {number: found.get(number) for number in acknowledged} == {
        number: [place] for number, place in acknowledged.items()
    }
    assert [number for number, places in found.items() if len(places) > 1] == []
    assert (accepted, dead) == (stored, 0)


def test_the_cut_takes_what_is_not_synced(ext4: Ext4) -> None:
    """What this file rests on: of two files, the one that was not synced is gone or empty."""
    for name in ("kept", "gone"):
        with (ext4.path / name).open("wb") as file:
            file.write(b"x" * 5000)
            file.flush()
            if name == "kept":
                os.fsync(file.fileno())
    ext4.cut(NOLOGFLUSH)
    ext4.unmount()
    ext4.mount()
    assert (ext4.path / "kept").read_bytes() == b"x" * 5000
    gone = ext4.path / "gone"
    assert not gone.exists() or gone.read_bytes() != b"x" * 5000
