"""Dead letters: listed, read, and given back to the service without a payload lost or doubled."""

import pytest

from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from workers.errors import ObjectRejected, StoreUnavailable
from workers.operate import dead_letters
from workers.operate.dead_letters import DeadLetters, NoSuchDeadLetter
from workers.segments.segment import Receipt
from workers.upload.compression import unpack


@pytest.fixture
def letters(bench: Bench) -> DeadLetters:
    """Read the bench's dead letters."""
    return DeadLetters(bench.spool, bucket=bench.bucket)


def bury(bench: Bench, *payloads: bytes, reason: str = "EntityTooLarge") -> Receipt:
    """Make a dead letter; S3 will take anything afterwards."""
    receipt = bench.accept(*payloads)[0]
    bench.bucket.trouble.append(ObjectRejected(reason))
    bench.upload_all()
    return receipt


def test_none_at_first(letters: DeadLetters) -> None:
    """A spool begins without dead letters."""
    assert letters.all() == []


def test_letters_are_listed_oldest_first(bench: Bench, letters: DeadLetters) -> None:
    """Each with its name, its payloads and its reason."""
    first, second = bury(bench, b"{}", b"{}"), bury(bench, b"{}", reason="KeyTooLongError")
    assert [(note["name"], note["payloads"], note["reason"]) for note in letters.all()] == [
        (first.header.name, 2, "EntityTooLarge"),
        (second.header.name, 1, "KeyTooLongError"),
    ]


def test_a_letter_is_read(bench: Bench, letters: DeadLetters) -> None:
    """A person sees the lines, and why and where they were to go."""
    receipt = bury(bench, b'{"n":1}', b'{"n":2}')
    dead_letter = letters.read(receipt.header.name)
    assert dead_letter.lines == b'{"n":1}\n{"n":2}\n'
    assert dead_letter.note["key"] == receipt.header.key


@pytest.mark.parametrize("name", ["", "x", "../retired", "20261123T235301123456Z-0123456789abcdef"])
def test_what_is_no_letter(bench: Bench, letters: DeadLetters, name: str) -> None:
    """A name cannot climb out of the directory, and one that is unknown says so."""
    (bench.spool.root / "retired.json").write_text("{}")
    with pytest.raises(NoSuchDeadLetter):
        letters.read(name)
    with pytest.raises(NoSuchDeadLetter):
        letters.replay(name)


def test_a_replay_goes_up_to_the_same_key(
    bench: Bench, letters: DeadLetters, bucket: DictBucket
) -> None:
    """A replayed dead letter is pending, then stored where its receipts say; its note goes."""
    receipt = bury(bench, b'{"n":1}', b'{"n":2}')
    id = bench.receipts.issue(receipt)
    assert letters.replay(receipt.header.name) == 2
    assert letters.all() == []
    assert balance(bench.totals()) == (2, 0, 2, 0)
    assert bench.receipts.look_up(id).state == "uploading"
    bench.adopt()
    bench.upload_all()
    assert balance(bench.totals()) == (2, 2, 0, 0)
    assert bench.receipts.look_up(id).state == "stored"
    [(key, (body, _, encoding))] = bucket.objects.items()
    assert key == receipt.header.key
    assert unpack(body, compression=encoding) == b'{"n":1}\n{"n":2}\n'


def test_a_replay_is_read_back_in_parts(
    bench: Bench, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A letter may be larger than what an upload should hold in memory."""
    monkeypatch.setattr(dead_letters, "RUN_BYTES", 10)
    name = bury(bench, b'{"n":1}', b'{"n":2}', b'{"n":3}').header.name
    letters.replay(name)
    [file] = [file for spool in bench.adopt() for file in spool.segment_files()]
    assert list(file.read()) == [b'{"n":1}\n{"n":2}\n', b'{"n":3}\n']


def test_a_replay_that_is_refused_again(bench: Bench, letters: DeadLetters) -> None:
    """It is a dead letter again, once, and the ledger balances."""
    name = bury(bench, b"{}").header.name
    letters.replay(name)
    bench.bucket.trouble.append(ObjectRejected("still too large"))
    bench.adopt()
    bench.upload_all()
    assert [note["reason"] for note in letters.all()] == ["still too large"]
    assert balance(bench.totals()) == (1, 0, 0, 1)


def test_a_replay_without_the_right_to_delete(
    bench: Bench, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note in the bucket may have to stay: a stored object counts for more."""

    def denied(*_: object) -> None:
        raise StoreUnavailable("AccessDenied", reason="denied")

    monkeypatch.setattr(bench.bucket, "delete", denied)
    receipt = bury(bench, b"{}")
    assert letters.replay(receipt.header.name) == 1
    bench.adopt()
    bench.upload_all()
    assert bench.receipts.look_up(bench.receipts.issue(receipt)).state == "stored"


def test_a_replay_cut_short_stores_once(
    bench: Bench, letters: DeadLetters, bucket: DictBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the dead letter was removed, and repeated: one object; the ledger balances."""
    receipt = bury(bench, b"{}", b"{}")
    dead_letter = letters.read(receipt.header.name)
    with monkeypatch.context() as patch:
        patch.setattr(letters, "read", lambda _: dead_letter)
        letters.replay(receipt.header.name)
        letters.replay(receipt.header.name)
    bench.adopt()
    bench.upload_all()
    assert list(bucket.objects) == [receipt.header.key]
    accepted, stored, pending, dead = balance(bench.totals())
    assert pending == 0
    assert accepted == stored + dead
    assert dead >= 0
