"""A process that uploads one segment and prints how much memory that took; see the test beside it.

`python -m tests.integration.memory.big_segment SPOOL_DIR MEBIBYTES FRAME_BYTES`
"""

import os
import re
import sys
from pathlib import Path

from tests.support.bench import settings_for
from workers.segments.naming import segment_name
from workers.segments.segment import Header, Segment
from workers.spool.process_spool import ProcessSpool
from workers.spool.spool import Spool
from workers.stores.disk_store import DiskStore
from workers.upload.compression import estimator_for
from workers.upload.s3 import Bucket
from workers.upload.uploader import Uploader

LINE_BYTES = 1 << 12


def leave(process_spool: ProcessSpool, header: Header, *, size: int, frame: int) -> Segment:
    """Write a frozen segment of lines that do not compress."""
    file = process_spool.new_file(header.name)
    segment = Segment(header, file)
    while segment.size < size:
        count = frame // LINE_BYTES
        noise = os.urandom(frame).replace(b"\n", b"?")
        lines = b"".join(
            noise[at + 1 : at + LINE_BYTES] + b"\n" for at in range(0, frame, LINE_BYTES)
        )
        file.append(header, [(segment.lines + 1, lines)])
        file.sync()
        segment.lines += count
        segment.size += len(lines)
    file.seal(lines=segment.lines, size=segment.size)
    segment.frozen.set()
    return segment


def memory(field: str) -> int:
    """Read a figure of this process, in bytes: proc(5), /proc/self/status."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


def main(root: str, mebibytes: str, frame: str) -> None:
    """Upload, and print the memory it took at most, beyond what there was before, in bytes."""
    settings = settings_for(Path(root), OBJECT_TARGET_BYTES=4 << 20)
    spool = Spool(settings.spool_dir)
    spool.prepare()
    store = DiskStore(spool, max_bytes=1 << 40)
    header = Header(name=segment_name(1), stream="s", bucket="bucket", key="k", compression="gzip")
    segment = leave(store.directory, header, size=int(mebibytes) << 20, frame=int(frame))
    bucket = Bucket.connect(settings)
    uploader = Uploader(
        bucket,
        store=store,
        bucket_for=lambda header: header.bucket,
        estimator=estimator_for(settings, store),
        memory_bytes=settings.object_target_bytes * 3 // 2,
        on_done=lambda _: None,
    )
    # proc(5): resets the peak, VmHWM, to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    uploader.upload(store.job(segment))
    print(memory("VmHWM") - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
