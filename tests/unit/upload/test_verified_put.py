"""No object is called stored before the store has shown that it has it."""

import enum
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.bench import Bench, balance
from tests.support.doubles import DictBucket
from tests.unit.upload.samples import letters, lines_of
from workers.errors import ObjectExists, StoreUnavailable
from workers.spool.counters import Field
from workers.upload.body import ObjectBody
from workers.upload.s3 import PutAnswer, Stored
from workers.upload.verified_put import VerifiedPut

PAGE = b"<html>Please log in</html>"


class Answer(enum.Enum):
    """What is wrong with a store's answers to PUTs."""

    NO_ETAG = PutAnswer()
    A_PAGE = PutAnswer(etag='"e"', has_content=True)
    ANOTHER_CHECKSUM = PutAnswer(etag='"e"', checksum="AAAAAA==")


class OddBucket(DictBucket):
    """A bucket that keeps what is sent and answers PUTs oddly."""

    def __init__(self, answer: PutAnswer, *, keeps_metadata: bool = True) -> None:
        super().__init__()
        self.answer = answer
        self.keeps_metadata = keeps_metadata
        self.heads = 0
        self.portal = False
        # What the next HEADs raise.
        self.head_trouble: list[Exception] = []

    def put(self, bucket: str, key: str, body: ObjectBody, **given: Any) -> PutAnswer:
        if self.portal:
            self.puts += 1
            return PutAnswer(etag='"page"', has_content=True)
        super().put(bucket, key, body, **given)
        if not self.keeps_metadata:
            kept, _, encoding = self.objects[key]
            self.objects[key] = kept, {}, encoding
        return self.answer

    def head(self, bucket: str, key: str) -> Stored:
        self.heads += 1
        if self.head_trouble:
            raise self.head_trouble.pop(0)
        if self.portal:
            return Stored(size=len(PAGE), metadata={}, etag='"page"', modified=None)
        return super().head(bucket, key)

    def read(self, bucket: str, key: str) -> Iterator[bytes]:
        if self.portal:
            yield PAGE
        else:
            yield from super().read(bucket, key)


def use(bench: Bench, bucket: DictBucket) -> None:
    """Let the bench upload to this bucket."""
    bench.bucket = bucket
    bench.uploader._objects = VerifiedPut(bucket)


@pytest.mark.parametrize("answer", Answer)
@pytest.mark.parametrize("keeps_metadata", [True, False])
def test_an_answer_that_shows_nothing_is_looked_into(
    bench: Bench, *, answer: Answer, keeps_metadata: bool
) -> None:
    """Where a HEAD, or the object itself, shows that it is there, it is stored; sent once."""
    bucket = OddBucket(answer.value, keeps_metadata=keeps_metadata)
    use(bench, bucket)
    [receipt] = bench.accept(b'{"n":1}')
    bench.upload_all()
    assert lines_of(bucket, receipt) == [b'{"n":1}']
    assert (bucket.puts, bucket.heads) == (1, 1)
    assert balance(bench.totals()) == (1, 1, 0, 0)


def test_an_answer_with_an_etag_is_believed(bench: Bench) -> None:
    """The usual answer costs no second request."""
    bucket = OddBucket(PutAnswer(etag='"e"'))
    use(bench, bucket)
    bench.accept(b"{}")
    bench.upload_all()
    assert (bucket.puts, bucket.heads) == (1, 0)


def test_a_portal_that_answers_200_to_everything_stores_nothing(bench: Bench) -> None:
    """Nothing is called stored, and nothing is a dead letter; once it is gone all is stored."""
    bucket = OddBucket(PutAnswer(etag='"e"'))
    use(bench, bucket)
    bucket.portal = True
    [receipt] = bench.accept(b"{}")
    bench.age()
    job = bench.next_job()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="nothing is stored"):
            bench.uploader.upload(job)
    assert balance(bench.totals()) == (1, 0, 1, 0)
    assert bench.totals()[Field.PUT_FAILURES_OTHER] == 3
    bucket.portal = False
    bench.uploader.upload(job)
    assert lines_of(bucket, receipt) == [b"{}"]
    assert balance(bench.totals()) == (1, 1, 0, 0)
    assert letters(bench) == []


def test_other_bytes_than_were_sent_are_replaced(bench: Bench) -> None:
    """A checksum that is not ours has the object read; what is not ours is put again."""
    bucket = OddBucket(Answer.ANOTHER_CHECKSUM.value)
    use(bench, bucket)
    bucket.keeps_half.add(1)
    [receipt] = bench.accept(*[b'{"n":1}'] * 50)
    bench.upload_all()
    assert lines_of(bucket, receipt) == [b'{"n":1}'] * 50
    assert balance(bench.totals()) == (50, 50, 0, 0)


@pytest.mark.parametrize("reason", ["network", "server", "other"])
def test_after_a_late_answer_the_body_is_not_sent_again(bench: Bench, reason: str) -> None:
    """The HEAD may fail several times first."""
    bucket = OddBucket(PutAnswer(etag='"e"'))
    use(bench, bucket)
    bucket.lost_answers.add(1)
    bucket.head_trouble = [StoreUnavailable("away", reason=reason)] * 3
    bench.accept(b"{}")
    bench.upload_all()
    assert (bucket.puts, bucket.heads) == (1, 4)
    assert balance(bench.totals()) == (1, 1, 0, 0)


@pytest.mark.parametrize("reason", ["throttled", "denied", "bucket"])
def test_a_refused_put_is_not_looked_for(bench: Bench, reason: str) -> None:
    """S3 has answered that nothing was stored: the next attempt sends the body at once."""
    odd = OddBucket(PutAnswer(etag='"e"'))
    use(bench, odd)
    odd.trouble.append(StoreUnavailable("no", reason=reason))
    bench.accept(b"{}")
    bench.upload_all()
    assert (odd.puts, odd.heads) == (2, 0)


def test_without_the_right_to_look_the_body_is_sent_again(bench: Bench) -> None:
    """Without s3:ListBucket a HEAD of nothing is 403: the PUT tells, not the HEAD."""
    bucket = OddBucket(PutAnswer(etag='"e"'))
    use(bench, bucket)
    bucket.trouble.append(StoreUnavailable("reset", reason="network"))
    bucket.head_trouble = [StoreUnavailable("403", reason="denied")]
    bench.accept(b"{}")
    bench.upload_all()
    assert (bucket.puts, bucket.heads) == (2, 1)
    assert balance(bench.totals()) == (1, 1, 0, 0)


def test_half_of_ours_is_replaced_before_the_body_is_put(bench: Bench) -> None:
    """After a lost answer a part of ours under the key is made whole, without a 412."""
    bucket = OddBucket(PutAnswer(etag='"e"'))
    use(bench, bucket)
    bucket.lost_answers.add(1)
    bucket.keeps_half.add(1)
    [receipt] = bench.accept(*[b'{"n":1}'] * 50)
    bench.upload_all()
    assert bucket.puts == 1
    assert lines_of(bucket, receipt) == [b'{"n":1}'] * 50


def test_a_replacement_is_verified_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replacement that an odd answer does not show is looked for as well."""
    bucket = OddBucket(PutAnswer(etag='"e"'))
    use(bench, bucket)
    bucket.lost_answers.add(1)
    bucket.keeps_half.add(1)
    replace = bucket.replace
    monkeypatch.setattr(bucket, "replace", lambda *_, **__: PutAnswer())
    bench.accept(*[b'{"n":1}'] * 50)
    bench.age()
    job = bench.next_job()
    for reason in ("reset", "could not be replaced"):
        with pytest.raises(StoreUnavailable, match=reason):
            bench.uploader.upload(job)
    assert balance(bench.totals()) == (50, 0, 50, 0)
    monkeypatch.setattr(bucket, "replace", replace)
    bench.uploader.upload(job)
    assert balance(bench.totals()) == (50, 50, 0, 0)


def test_a_conflict_that_the_store_cannot_explain_is_tried_again(bench: Bench) -> None:
    """Taken at the PUT and gone at the HEAD: the next attempt puts it."""
    bucket = OddBucket(PutAnswer(etag='"e"'))
    use(bench, bucket)
    bucket.trouble.append(ObjectExists("taken"))
    bench.accept(b"{}")
    bench.upload_all()
    assert (bucket.puts, bucket.heads) == (2, 2)
    assert balance(bench.totals()) == (1, 1, 0, 0)
