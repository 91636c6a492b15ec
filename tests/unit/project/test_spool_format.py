"""docs/spool-format.md: its example is what the code writes, and its numbers are the code's."""

import re
from pathlib import Path

from workers.segments.segment import Header
from workers.spool.counters import COUNTERS_BYTES, Field
from workers.spool.disk import Disk
from workers.spool.frames import HEADER, LINES, PREFIX_BYTES, SEAL
from workers.spool.segment_file import SegmentFile

PAGE = (Path(__file__).resolve().parents[3] / "docs/spool-format.md").read_text()
NAME = "20261124T005411483262Z-b3c300bdd39237d5"
HEAD = Header(
    name=NAME,
    stream="orders",
    bucket="events",
    key=f"orders/{NAME}.ndjson",
    compression="none",
)


def dump(content: bytes) -> str:
    """Return bytes in hexadecimal and ASCII, 16 a line."""
    lines = []
    for at in range(0, len(content), 16):
        part = content[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:04x}  {part.hex(' '):47}  {text}\n")
    return "".join(lines)


def test_the_example_is_what_the_code_writes(tmp_path: Path) -> None:
    """Two requests in one group and a seal make the file that the page shows."""
    file = SegmentFile(tmp_path / f"{NAME}.open", disk=Disk())
    file.append(HEAD, [(1, b'{"id":1}\n{"id":2}\n'), (3, b'{"id":3}\n')])
    file.sync()
    file.seal(lines=3, size=27)

    assert f"`{file.path.name}`" in PAGE
    assert f"```\n{dump(file.path.read_bytes())}```" in PAGE


def test_the_bytes_that_are_explained_are_those_of_the_example() -> None:
    """Each row of the explanation has the bytes that the dump has there."""
    shown = bytes.fromhex("".join(re.findall(r"^[0-9a-f]{4}  (.{47})  ", PAGE, re.MULTILINE)))
    rows = re.findall(r"^\| `([0-9a-f]{4})` \| ([`0-9a-f ]+) \|", PAGE, re.MULTILINE)

    assert len(rows) > 10
    for at, cells in rows:
        expected = bytes.fromhex(cells.replace("`", " "))
        assert shown[int(at, 16) :].startswith(expected), at


def test_marks_and_widths_are_those_of_the_code() -> None:
    """The frame's table names the marks, and its body begins where the prefix ends."""
    for mark in (HEADER, LINES, SEAL):
        assert f"`{mark.decode()}`" in PAGE
    assert f"| {PREFIX_BYTES} | `length` | `body` | |" in PAGE


def test_the_cells_are_those_of_the_code() -> None:
    """The counters that recovery rests on are at the places that the page gives."""
    assert f"`ledger` has {COUNTERS_BYTES // 8} cells" in PAGE
    assert [Field.ACCEPTED, Field.STORED, Field.DEAD] == [0, 1, 2]
    assert [Field.FINISHING, Field.FINISHED_STORED, Field.FINISHED_DEAD] == [3, 4, 5]
