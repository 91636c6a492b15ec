"""Receipts behind stores and proxies that say little, and beside files that cannot be read."""

import gzip
from functools import partial
from pathlib import Path

import pytest

from tests.support.bench import Bench, settings_for
from tests.support.doubles import DictBucket
from workers.errors import ObjectMissing, ObjectRejected
from workers.operate.receipts import Receipts, UnknownReceipt
from workers.spool.decisions import Decisions
from workers.spool.spool import Spool
from workers.stores.found import found_on_disk
from workers.upload.s3 import Stored


class Terse(DictBucket):
    """A bucket whose HEAD says nothing but that there is an object."""

    def head(self, bucket: str, key: str) -> Stored:
        """Say nothing."""
        super().head(bucket, key)
        return Stored(None, {}, None, None)


@pytest.fixture
def elsewhere(tmp_path: Path, bucket: DictBucket) -> Receipts:
    """Look receipts up as another machine would: another spool, the same bucket."""
    spool = Spool(tmp_path / "elsewhere")
    spool.prepare()
    settings = settings_for(spool.root)
    return Receipts(
        settings, bucket=bucket, look=partial(found_on_disk, spool), decisions=Decisions(spool.root)
    )


def store(bench: Bench, *payloads: bytes) -> str:
    """Store payloads as one object; return their receipt's id."""
    id = bench.receipts.issue(bench.accept(*payloads)[0])
    bench.upload_all()
    return id


def test_an_object_of_which_nothing_is_said(bench: Bench, elsewhere: Receipts) -> None:
    """Without metadata the segment's name in its key says whose it is: it is stored."""
    id = store(bench, b"{}")
    terse = Terse()
    terse.objects = bench.bucket.objects
    elsewhere._bucket = terse
    status = elsewhere.look_up(id)
    assert (status.state, status.size, status.stored_at) == ("stored", None, None)


@pytest.mark.parametrize(
    ("metadata", "state"), [({"segment": "another"}, "accepted"), ({"payloads": "0"}, "dead")]
)
def test_an_object_whose_metadata_does_not_fit(
    bench: Bench, elsewhere: Receipts, *, metadata: dict[str, str], state: str
) -> None:
    """An object of another segment, or without these lines, is not theirs."""
    id = store(bench, b"{}")
    [(key, (body, _, encoding))] = bench.bucket.objects.items()
    bench.bucket.objects[key] = body, metadata, encoding
    assert elsewhere.look_up(id).state == state


@pytest.mark.parametrize("metadata", [{"payloads": "many"}, {"lost-lines": "3-x,-,y"}])
def test_metadata_that_makes_no_sense(
    bench: Bench, elsewhere: Receipts, metadata: dict[str, str]
) -> None:
    """What cannot be read in an object's metadata is as if it were not there."""
    id = store(bench, b"{}")
    [(key, (body, _, encoding))] = bench.bucket.objects.items()
    bench.bucket.objects[key] = body, metadata, encoding
    assert elsewhere.look_up(id).state == "stored"


@pytest.mark.parametrize("encoding", [None, "gzip", "gzip,aws-chunked", "identity", "zstd"])
@pytest.mark.parametrize("form", ["as it was", "decompressed", "recompressed"])
def test_lines_are_read_under_any_encoding(
    bench: Bench, elsewhere: Receipts, *, encoding: str | None, form: str
) -> None:
    """Proxies decompress on the way, stores add to the encoding or drop it: lines come back."""
    id = store(bench, b'{"n":1}', b'{"n":2}\r')
    [(key, (body, metadata, _))] = bench.bucket.objects.items()
    if form != "as it was":
        body = gzip.decompress(body)
    if form == "recompressed":
        body = gzip.compress(body)
    bench.bucket.objects[key] = body, metadata, encoding
    assert elsewhere.payloads(id) == [b'{"n":1}', b'{"n":2}\r']


def test_what_is_known_here_asks_no_store(bench: Bench, elsewhere: Receipts) -> None:
    """The signature and the spool come first: only what neither knows has to ask S3."""
    id = bench.receipts.issue(bench.accept(b"{}")[0])
    claim = bench.receipts.claim(id)
    status = bench.receipts.local_status(claim)
    assert status is not None
    assert status.state == "accepted"
    assert elsewhere.local_status(claim) is None
    assert elsewhere.stored_status(claim).state == "accepted"
    with pytest.raises(UnknownReceipt):
        bench.receipts.claim(id + "0")


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"{}", b"\xff", None])
def test_a_dead_letter_whose_note_cannot_be_read(bench: Bench, note: bytes | None) -> None:
    """It is dead all the same, and the receipt says that the reason is not known."""
    bench.bucket.trouble.append(ObjectRejected("EntityTooLarge"))
    id = store(bench, b"{}")
    [path] = (bench.spool.root / "dead").glob("*.json")
    if note is None:
        path.unlink()
        Path(path).mkdir()
    else:
        path.write_bytes(note)
    status = bench.receipts.look_up(id)
    assert (status.state, status.reason) == ("dead", "its note cannot be read")


def test_payloads_of_an_object_that_is_gone(bench: Bench, elsewhere: Receipts) -> None:
    """An object that was deleted is missing."""
    id = store(bench, b"{}")
    bench.bucket.objects.clear()
    with pytest.raises(ObjectMissing):
        elsewhere.payloads(id)
