"""Objects that come back: read by their bytes, not their headers, and known by their lines."""

import gzip
import zlib
from collections.abc import Iterator

import pytest
import zstandard

from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from workers.errors import StoreUnavailable
from workers.upload.reading import (
    PIECE_BYTES,
    UnreadableObject,
    decompress,
    decompressed,
    measure,
)
from workers.upload.s3 import Stored
from workers.upload.verified_put import VerifiedPut

LINES = b'{"n":1}\n' * 50_000
FORMS = {
    "plain": LINES,
    "gzip": gzip.compress(LINES),
    "zstd": zstandard.compress(LINES),
    "two gzip members": gzip.compress(LINES[:800]) + gzip.compress(LINES[800:]),
    "two zstd frames": zstandard.compress(LINES[:800]) + zstandard.compress(LINES[800:]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 3, 1000, 1 << 20])
def test_lines_come_back(form: str, size: int) -> None:
    """Each form is known by its first bytes, however they are cut, and comes in bounded pieces."""
    body = FORMS[form]
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    pieces = list(decompressed(chunks))
    assert b"".join(pieces) == LINES
    assert max(map(len, pieces)) <= PIECE_BYTES


@pytest.mark.parametrize("form", FORMS)
def test_size_and_crc_of_lines(form: str) -> None:
    """Two objects of the same lines have the same measure, however they are compressed."""
    assert measure([FORMS[form]]) == (len(LINES), zlib.crc32(LINES))
    assert decompress(FORMS[form]) == LINES


def test_nothing_is_nothing() -> None:
    """An empty object has no lines."""
    assert measure([]) == (0, 0)
    assert decompress(b"") == b""


def test_what_is_cut_short_is_no_object() -> None:
    """Half a gzip body is an error of ours, and not zlib's."""
    with pytest.raises(UnreadableObject):
        decompress(FORMS["gzip"][:-20])


def test_an_error_of_the_network_stays_one() -> None:
    """What breaks off while it is read may pass; it says nothing of the object."""

    def chunks() -> Iterator[bytes]:
        yield FORMS["gzip"][:100]
        raise StoreUnavailable("reset", reason="network")

    with pytest.raises(StoreUnavailable):
        measure(chunks())


# --- A lost answer, where HEAD does not say enough ------------------------------------------------


class Forgetful(DictBucket):
    """A bucket whose HEAD names only the metadata in `kept`, and no size if `sized` is False."""

    kept: tuple[str, ...] = ()
    sized = True

    def head(self, bucket: str, key: str) -> Stored:
        """Leave out what this bucket, or a proxy before it, leaves out."""
        found = super().head(bucket, key)
        metadata = {name: value for name, value in found.metadata.items() if name in self.kept}
        return Stored(found.size if self.sized else None, metadata, found.etag, found.modified)


def upload(bench: Bench, bucket: DictBucket) -> str:
    """Upload a segment whose first PUT's answer is lost; return its key."""
    bench.bucket = bucket
    bench.uploader._objects = VerifiedPut(bucket)
    bucket.lost_answers.add(1)
    receipt = bench.accept(*[b'{"n":1}'] * 100)[0]
    bench.upload_all()
    return receipt.header.key


@pytest.mark.parametrize("kept", [(), ("segment",), ("payloads", "size", "crc32")])
def test_without_metadata_the_object_is_compared(bench: Bench, kept: tuple[str, ...]) -> None:
    """A 412 over an object of our lines is success, though nothing says that it is ours."""
    bucket = Forgetful()
    bucket.kept = kept
    upload(bench, bucket)
    assert balance(bench.totals()) == (100, 100, 0, 0)


def test_without_metadata_another_object_is_left_alone(bench: Bench) -> None:
    """Other lines under our key are another object: a dead letter, and no overwriting."""
    bucket = Forgetful()
    receipt = bench.accept(b"{}")[0]
    bench.bucket = bucket
    bench.uploader._objects = VerifiedPut(bucket)
    bucket.objects[receipt.header.key] = b"theirs\n", {}, None
    bench.upload_all()
    assert balance(bench.totals()) == (1, 0, 0, 1)
    assert bucket.objects[receipt.header.key][0] == b"theirs\n"


@pytest.mark.parametrize("half", [False, True])
def test_without_a_size_the_object_is_compared(bench: Bench, *, half: bool) -> None:
    """Where HEAD has no length, a whole object is ours and half of one is replaced."""
    bucket = Forgetful()
    bucket.sized = False
    bucket.kept = ("segment", "payloads", "size", "crc32", "stored-size")
    if half:
        bucket.keeps_half.add(1)
    key = upload(bench, bucket)
    assert decompress(bucket.objects[key][0]) == b'{"n":1}\n' * 100
    assert balance(bench.totals()) == (100, 100, 0, 0)
