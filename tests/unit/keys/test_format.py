"""docs/spool-format.md: its example of a key record is what the code writes."""

from hashlib import sha256
from pathlib import Path

from workers.keys.log import ENTRIES
from workers.keys.records import RECORD_BYTES, KeyRecord, digest_of, pack_record
from workers.spool.frames import KEYED

PAGE = (Path(__file__).resolve().parents[3] / "docs/spool-format.md").read_text()


def test_the_example_is_what_the_code_writes() -> None:
    """A request with three payloads in one segment has the record that the page shows."""
    digest, body = digest_of("key", "", "orders", "a"), sha256(b"[{},{},{}]").digest()
    record = pack_record(KeyRecord(digest, body, 1795484644, 3))
    for at in range(0, len(record), 16):
        assert f"{at:04x}  {record[at : at + 16].hex(' ')}" in PAGE
    assert f"| {RECORD_BYTES} | 8 " in PAGE


def test_marks_are_those_of_the_code() -> None:
    """Both marks are on the page."""
    assert f"`{KEYED.decode()}`" in PAGE
    assert f"`{ENTRIES.decode()}`" in PAGE
