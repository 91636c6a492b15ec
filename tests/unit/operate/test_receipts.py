"""Receipts: an id cannot be altered, and the state of its payloads is right on every machine."""

import base64
import json
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.support.bench import Bench, MakeBench, settings_for
from tests.support.doubles import DictBucket
from workers.errors import ObjectMissing, ObjectRejected, StoreUnavailable
from workers.operate.receipts import Claim, Receipts, Status, UnknownReceipt
from workers.segments.naming import dead_marker
from workers.segments.segment import Header, Receipt
from workers.spool.decisions import Decisions
from workers.spool.spool import Spool
from workers.stores.found import found_on_disk
from workers.upload.s3 import Bucket

# Fixed, so that every process of a test run has the same names for its tests.
NAME = "19700101T000000000001Z-0123456789abcdef"


def header(*, bucket: str = "bucket", key: str = f"s/dt=1970-01-01/{NAME}.gz") -> Header:
    """Make a segment's header."""
    return Header(name=NAME, stream="s", bucket=bucket, key=key, compression="gzip")


def on(root: Path, bucket: Bucket | None = None, **environ: object) -> Receipts:
    """Look receipts up on a machine of its own, whose spool is empty."""
    spool = Spool(root)
    spool.prepare()
    settings = settings_for(root, **environ)
    return Receipts(
        settings,
        bucket=bucket or DictBucket(),
        look=partial(found_on_disk, spool),
        decisions=Decisions(spool.root),
    )


@pytest.fixture
def elsewhere(tmp_path: Path, bucket: DictBucket) -> Receipts:
    """Look receipts up as another machine would: another spool, the same bucket."""
    return on(tmp_path / "elsewhere", bucket)


def states(id: str, *places: Receipts) -> list[str]:
    """Look a receipt up in several places."""
    return [place.look_up(id).state for place in places]


# --- The id ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("bucket", f"s/{NAME}.ndjson.gz"),
        ("bucket", NAME),
        ("bucket", f"ünïcödé/.../{NAME}/x.y"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/ap", f"s/{NAME}.gz"),
    ],
    ids=["default", "bare", "odd", "access point"],
)
def test_an_id_says_where(tmp_path: Path, bucket: str, key: str) -> None:
    """What was issued is read back, for any bucket and key, and is safe in a URL's path."""
    receipts = on(tmp_path, S3_BUCKET=bucket)
    id = receipts.issue(Receipt(header(bucket=bucket, key=key), 7, 3))
    assert receipts.claim(id) == Claim(id, bucket, key, NAME, 7, 3)
    assert set(id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_an_id_names_its_stream_where_keys_may_be_limited_to_some(tmp_path: Path) -> None:
    """With an access file it does; an id that was issued before is read, and names none."""
    before = on(tmp_path)
    after = on(tmp_path, ACCESS_FILE=tmp_path / "access.toml")
    receipt = Receipt(header(), 7, 3)
    assert after.claim(after.issue(receipt)).stream == "s"
    assert after.claim(before.issue(receipt)).stream is None
    assert before.claim(after.issue(receipt)).key == header().key


def test_no_character_of_an_id_can_be_changed(elsewhere: Receipts) -> None:
    """Every change, loss or addition of a character makes an id that was never issued."""
    id = elsewhere.issue(Receipt(header(), 7, 3))
    for position, character in enumerate(id):
        other = "A" if character != "A" else "B"
        for bent in (
            id[:position] + other + id[position + 1 :],
            id[:position] + id[position + 1 :],
            id[:position] + "0" + id[position:],
        ):
            with pytest.raises(UnknownReceipt):
                elsewhere.claim(bent)


@pytest.mark.parametrize(
    "id",
    ["", ".", "...", "a.1.1.", "a.1.1.é", "\ud800.1.1.x", "x" * 10_000, ".1.1.0", "%00", "a.b"],
)
def test_what_is_no_id(elsewhere: Receipts, id: str) -> None:
    """Any path is a receipt or it is unknown."""
    with pytest.raises(UnknownReceipt):
        elsewhere.claim(id)


@pytest.mark.parametrize("said", ["bucket\ns/no-name", NAME, "", "\n"])
def test_even_signed_an_id_must_name_a_segment(elsewhere: Receipts, said: str) -> None:
    """With the secret guessed an id still opens nothing that is not a segment's object."""
    packed = base64.urlsafe_b64encode(said.encode()).rstrip(b"=").decode()
    signed = f"{packed}.1.1.{elsewhere._sign(f'{packed}.1.1'.encode())}"
    with pytest.raises(UnknownReceipt):
        elsewhere.claim(signed)


def test_another_secret_is_another_service(tmp_path: Path) -> None:
    """With RECEIPT_SECRET set only those who have it, too, can read a receipt."""
    one, other = (on(tmp_path, RECEIPT_SECRET=secret) for secret in ("one", "other"))
    id = one.issue(Receipt(header(), 1, 1))
    assert one.claim(id).count == 1
    with pytest.raises(UnknownReceipt):
        other.claim(id)


def test_only_a_secret_opens_other_buckets(tmp_path: Path) -> None:
    """Without one anybody could sign: then no receipt makes the service look elsewhere."""
    id = on(tmp_path, S3_BUCKET="before").issue(Receipt(header(bucket="other"), 1, 1))
    with pytest.raises(UnknownReceipt):
        on(tmp_path, S3_BUCKET="before").claim(id)
    moved = on(tmp_path, S3_BUCKET="after", RECEIPT_SECRET="s")
    id = on(tmp_path, S3_BUCKET="before", RECEIPT_SECRET="s").issue(
        Receipt(header(bucket="before"), 1, 1)
    )
    assert moved.claim(id).bucket == "before"


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"1", b"{}", b'"x"', b"\xff"])
def test_a_note_that_is_none_of_ours(
    bench: Bench, elsewhere: Receipts, bucket: DictBucket, note: bytes
) -> None:
    """With anything under a note's key, looking up a receipt does not fail."""
    receipt = bench.accept(b"{}")[0]
    bucket.objects[dead_marker(receipt.header.name)] = note, {}, None
    assert states(bench.receipts.issue(receipt), elsewhere) == ["accepted"]


# --- What became of it ----------------------------------------------------------------------------


def test_a_receipt_s_whole_life(bench: Bench, make_bench: MakeBench, elsewhere: Receipts) -> None:
    """Accepted, uploading, stored: the same from this process, another one, and another machine."""
    receipt = bench.accept(b'{"n":1}', b'{"n":2}')[0]
    id, places = bench.receipts.issue(receipt), (bench.receipts, make_bench().receipts)
    assert states(id, *places) == ["accepted"] * 2
    bench.age()
    assert states(id, *places) == ["uploading"] * 2
    assert states(id, elsewhere) == ["accepted"]
    bench.upload_all()
    seen = [place.look_up(id) for place in (*places, elsewhere)]
    body = bench.bucket.objects[receipt.header.key][0]
    assert (
        seen
        == [
            Status(
                id=id,
                state="stored",
                object=f"s3://bucket/{receipt.header.key}",
                first_line=1,
                count=2,
                size=len(body),
                stored_at=1.5,
            )
        ]
        * 3
    )


def test_dead_with_its_reason(bench: Bench, make_bench: MakeBench, elsewhere: Receipts) -> None:
    """A dead letter's receipt says why, and from another machine the bucket's note does."""
    id = bench.receipts.issue(bench.accept(b"{}")[0])
    bench.bucket.trouble.append(ObjectRejected("EntityTooLarge"))
    bench.upload_all()
    for place in (bench.receipts, make_bench().receipts, elsewhere):
        status = place.look_up(id)
        assert (status.state, status.reason) == ("dead", "EntityTooLarge")


@pytest.mark.parametrize("died", [False, True])
def test_what_a_dead_process_left(bench: Bench, make_bench: MakeBench, *, died: bool) -> None:
    """Before and after its adoption a segment's receipt is answered by who is alive."""
    id = bench.receipts.issue(bench.accept(b"{}")[0])
    bench.die()
    living = make_bench()
    if died:
        living.adopt()
        assert states(id, living.receipts) == ["uploading"]
        living.upload_all()
        assert states(id, living.receipts) == ["stored"]
    else:
        assert states(id, living.receipts) == ["accepted"]


def test_damage_shows_in_the_receipts_it_hit(bench: Bench, elsewhere: Receipts) -> None:
    """Of a damaged segment the lines that were lost are dead; the others are stored."""
    ids = [bench.receipts.issue(bench.accept(b'{"n":%d}' % n)[0]) for n in range(5)]
    bench.age()
    [path] = bench.process_spool.path.glob("*.ready")
    rotten = path.read_bytes().replace(b'{"n":1}', b'{"n":?}').replace(b'{"n":3}', b'{"n":?}')
    path.write_bytes(rotten)
    bench.upload_all()
    assert states(ids[0], bench.receipts, elsewhere) == ["stored"] * 2
    assert [elsewhere.look_up(id).state for id in ids] == ["stored", "dead"] * 2 + ["stored"]
    assert "damage" in str(elsewhere.look_up(ids[1]).reason)
    assert elsewhere.payloads(ids[4]) == [b'{"n":4}']


def test_settings_may_change(bench: Bench, make_bench: MakeBench, elsewhere: Receipts) -> None:
    """A new key template or compression moves no receipt that was given before."""
    id = bench.receipts.issue(bench.accept(b'{"n":1}')[0])
    changed = make_bench(KEY_TEMPLATE="other/{segment}", COMPRESSION="zstd")
    bench.upload_all()
    later = changed.receipts.issue(changed.accept(b'{"n":2}')[0])
    changed.upload_all()
    for place in (bench.receipts, changed.receipts, elsewhere):
        assert place.payloads(id) == [b'{"n":1}']
        assert place.payloads(later) == [b'{"n":2}']


def test_the_very_lines(bench: Bench, elsewhere: Receipts) -> None:
    """A receipt's payloads are exactly its own, in order."""
    first = bench.receipts.issue(bench.accept(b'{"n":1}', b'{"n":2}')[0])
    second = bench.receipts.issue(bench.accept(b'{"n":3}', b'{"n":4}')[0])
    bench.upload_all()
    assert elsewhere.payloads(first) == [b'{"n":1}', b'{"n":2}']
    assert elsewhere.payloads(second) == [b'{"n":3}', b'{"n":4}']


def test_an_object_that_is_not_the_segment_s_is_ignored(bench: Bench, elsewhere: Receipts) -> None:
    """Another's object under the key is neither described nor read."""
    receipt = bench.accept(b"{}")[0]
    id = bench.receipts.issue(receipt)
    theirs = (b"secret\n", {"segment": "another", "payloads": "9"}, None)
    bench.bucket.objects[receipt.header.key] = theirs
    assert states(id, elsewhere) == ["accepted"]
    with pytest.raises(ObjectMissing):
        elsewhere.payloads(id)


def test_more_lines_than_there_are_is_not_stored(bench: Bench, elsewhere: Receipts) -> None:
    """A receipt of lines beyond the object's end is of lines that the spool lost: they are dead."""
    receipt = bench.accept(b"{}")[0]
    bench.upload_all()
    beyond = elsewhere.issue(Receipt(receipt.header, 1, 2))
    assert states(beyond, elsewhere) == ["dead"]
    with pytest.raises(ObjectMissing):
        elsewhere.payloads(beyond)


def test_with_s3_away_only_what_is_here_is_known(
    bench: Bench, elsewhere: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this machine holds is known without S3; about the rest nothing is invented."""

    def away(*_: object) -> None:
        raise StoreUnavailable("away", reason="network")

    monkeypatch.setattr(bench.bucket, "get", away)
    id = bench.receipts.issue(bench.accept(b"{}")[0])
    assert states(id, bench.receipts) == ["accepted"]
    with pytest.raises(StoreUnavailable):
        elsewhere.look_up(id)


def test_a_status_is_as_small_as_it_can_be(elsewhere: Receipts) -> None:
    """What is not known is left out of the answer instead of being null."""
    id = elsewhere.issue(Receipt(header(), 1, 1))
    said = json.loads(msgspec.json.encode(elsewhere.look_up(id)))
    assert set(said) == {"id", "state", "object", "first_line", "count"}
