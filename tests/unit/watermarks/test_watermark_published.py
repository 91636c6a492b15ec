"""A spool's watermark is published by one process at a time, under one id, and in order."""

from pathlib import Path

import pytest

from tests.support.bench import MakeBench
from tests.support.doubles import DictBucket
from tests.unit.watermarks.bench import notes, through, watermark_of
from workers.errors import StoreUnavailable

AWAY = StoreUnavailable("reset", reason="network")


def test_one_process_publishes_under_one_id(make_bench: MakeBench, bucket: DictBucket) -> None:
    """The others take over when it ends, under the spool's id, which outlives them."""
    benches = [make_bench(), make_bench()]
    first, second = map(watermark_of, benches)
    first.step()
    published = bucket.puts
    second.step()
    assert bucket.puts == published
    for bench in benches:
        bench.store.close()
    first.finish()
    second.step()
    assert len(notes(bucket)) == 1
    assert "final" not in notes(bucket)[0]


def test_the_last_process_of_a_drained_spool_says_so(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """Only when no directory is left is there nothing more to wait for."""
    benches = [make_bench(), make_bench()]
    first, second = map(watermark_of, benches)
    first.step()
    benches[0].store.close()
    first.finish()
    assert "final" not in notes(bucket)[0]
    benches[1].store.close()
    second.finish()
    assert notes(bucket)[0]["final"] is True
    watermark_of(make_bench()).step()
    assert "final" not in notes(bucket)[0]


def test_what_a_stop_leaves_behind_is_not_the_end(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """Payloads in the spool are not complete, whether a process runs or not."""
    bench = make_bench()
    watermark = watermark_of(bench)
    bench.accept(b"{}")
    watermark.step()
    bench.store.close()
    watermark.finish()
    assert "final" not in notes(bucket)[0]


def test_a_late_put_of_a_killed_process_is_refused(
    make_bench: MakeBench, bucket: DictBucket
) -> None:
    """Each replaces what its process saw: an older one that arrives later changes nothing."""
    watermark = watermark_of(make_bench())
    watermark.step()
    [key] = [key for key in bucket.objects if key.startswith("_watermark/")]
    seen = bucket.head("bucket", key).etag
    watermark.step()
    said = through(bucket)
    with pytest.raises(Exception, match=key):
        bucket.swap_note("bucket", key, b"{}", etag=seen)
    assert through(bucket) == said


@pytest.mark.parametrize("took_effect", [True, False])
def test_a_failure_is_tried_again(
    make_bench: MakeBench,
    bucket: DictBucket,
    caplog: pytest.LogCaptureFixture,
    *,
    took_effect: bool,
) -> None:
    """Whether or not the PUT took effect; one line in the log for all that fail alike."""
    watermark = watermark_of(make_bench())
    watermark.step()
    before = through(bucket)
    if took_effect:
        bucket.lost_answers.update({bucket.puts + 1, bucket.puts + 2})
    else:
        bucket.trouble.extend([AWAY, AWAY])
    for _ in range(3):
        watermark.step()
    assert through(bucket) > before
    said = [record.message for record in caplog.records if "watermark" in record.message]
    assert said == ["no watermark is published now"]


def test_the_id_is_made_anew_where_it_was_torn(
    make_bench: MakeBench, bucket: DictBucket, tmp_path: Path
) -> None:
    """A power cut may leave an empty file: nothing was published under that id."""
    (tmp_path / "watermark").mkdir()
    (tmp_path / "watermark" / "id").write_text("")
    watermark_of(make_bench()).step()
    [key] = bucket.objects
    assert (tmp_path / "watermark" / "id").read_text().strip() in key
