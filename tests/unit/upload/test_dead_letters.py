"""Segments that are damaged or refused: what is stored, and what becomes a dead letter."""

import json

import pytest

from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from tests.unit.upload.samples import AWAY, letters, lines_of, spoil
from workers.errors import (
    ObjectExists,
    ObjectRejected,
    StoreError,
)


def test_an_object_that_s3_refuses_is_a_dead_letter(bench: Bench, bucket: DictBucket) -> None:
    """Its lines, reason and place are kept on the disk, and a note is left in the bucket."""
    bucket.trouble.append(ObjectRejected("EntityTooLarge"))
    receipt = bench.accept(b'{"n":1}', b'{"n":2}')[0]
    bench.upload_all()
    [dead_letter] = letters(bench)
    assert dead_letter["reason"] == "EntityTooLarge"
    assert (dead_letter["payloads"], dead_letter["key"]) == (2, receipt.header.key)
    lines = bench.spool.root / "dead" / f"{receipt.header.name}.ndjson"
    assert lines.read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert balance(bench.totals()) == (2, 0, 0, 2)
    [(key, (note, _, _))] = bucket.objects.items()
    assert key == f"_dead/{receipt.header.name}.json"
    assert json.loads(note) == {"reason": "EntityTooLarge", "payloads": 2}
    assert bench.process_spool.empty


@pytest.mark.parametrize("error", [AWAY, ObjectExists("there"), ObjectRejected("no")])
def test_a_note_that_cannot_be_left_is_no_matter(
    bench: Bench, bucket: DictBucket, error: StoreError
) -> None:
    """The dead letter is on the disk; the note for other machines is a courtesy."""
    bucket.trouble.extend([ObjectRejected("no"), error])
    bench.accept(b"{}")
    bench.upload_all()
    assert len(letters(bench)) == 1
    assert balance(bench.totals()) == (1, 0, 0, 1)
    assert bench.retries.attempts == []


@pytest.mark.parametrize("metadata", [{}, {"segment": "another"}])
def test_another_object_is_left_alone(
    bench: Bench, bucket: DictBucket, metadata: dict[str, str]
) -> None:
    """Where a key is taken by what is not ours, nothing is overwritten: ours is a dead letter."""
    receipt = bench.accept(b"{}")[0]
    theirs = (b"theirs", metadata, None)
    bucket.objects[receipt.header.key] = theirs
    bench.upload_all()
    assert bucket.objects[receipt.header.key] == theirs
    assert "another object" in letters(bench)[0]["reason"]
    assert balance(bench.totals()) == (1, 0, 0, 1)


def test_damage_costs_the_lines_it_hit(bench: Bench, bucket: DictBucket) -> None:
    """What is readable is stored under its own numbers, the rest is counted dead and reported."""
    receipts = [bench.accept(payload)[0] for payload in (b'{"n":1}', b'{"n":2}', b'{"n":3}')]
    bench.age()
    spoil(bench, b'{"n":2}', b'{"n":?}')
    bench.upload_all()
    assert lines_of(bucket, receipts[0]) == [b'{"n":1}', b"", b'{"n":3}']
    assert balance(bench.totals()) == (3, 2, 0, 1)
    assert bucket.objects[receipts[0].header.key][1]["lost-lines"] == "2-2"
    [kept] = (bench.spool.root / "quarantine").glob("*.ready")
    assert b'{"n":?}' in kept.read_bytes()


def test_with_all_lines_damaged_there_is_no_object(bench: Bench, bucket: DictBucket) -> None:
    """Nothing readable: nothing stored, all of it dead, the file in quarantine."""
    bench.accept(b'{"n":1}')
    bench.age()
    spoil(bench, b'{"n":1}', b'{"n":?}')
    bench.upload_all()
    assert bucket.objects == {}
    assert balance(bench.totals()) == (1, 0, 0, 1)


def test_damage_in_many_places_is_summarised(bench: Bench, bucket: DictBucket) -> None:
    """S3 takes 2 KB of metadata: with very many holes the whole range is named."""
    for number in range(301):
        bench.accept(b'{"lost":1}' if number % 2 else b'{"kept":1}')
    bench.age()
    spoil(bench, b'{"lost":1}', b'{"lost":?}')
    bench.upload_all()
    [(_, metadata, _)] = bucket.objects.values()
    assert metadata["lost-lines"] == "2-300"
    assert balance(bench.totals()) == (301, 151, 0, 150)


def test_damaged_and_refused(bench: Bench, bucket: DictBucket) -> None:
    """A damaged segment that S3 refuses, too, is one dead letter, with what could be read."""
    receipt = bench.accept(b'{"n":1}')[0]
    bench.accept(b'{"n":2}')
    bench.age()
    spoil(bench, b'{"n":1}', b'{"n":?}')
    bucket.trouble.append(ObjectRejected("no"))
    bench.upload_all()
    lines = bench.spool.root / "dead" / f"{receipt.header.name}.ndjson"
    assert lines.read_bytes() == b'\n{"n":2}\n'
    assert balance(bench.totals()) == (2, 0, 0, 2)
