"""What the objects are like: their size, their age, their lines, their keys."""

import json
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.service import (
    ServiceFactory,
    assert_each_object_was_put_once,
    assert_promise_kept,
    settle,
)
from tests.acceptance.wire import Wire, post
from tests.support.flood import Flood, Plan
from tests.support.s3 import FakeS3, content
from tests.support.service import Service

KIB = 1 << 10


def sizes(s3: FakeS3) -> list[int]:
    """Return the objects' sizes as stored, oldest first."""
    return [len(stored.body) for _, stored in sorted(s3.objects().items())]


def counts(s3: FakeS3) -> list[int]:
    """Return the objects' numbers of lines, oldest first."""
    return [content(key, stored).count(b"\n") for key, stored in sorted(s3.objects().items())]


def send_steadily(service: Service, *, requests: int) -> None:
    """Send ten payloads of 300 random hexadecimal digits at a time, on one connection."""
    rng = random.Random(7)
    with Wire(service.port) as wire:
        for _ in range(requests):
            payloads = [b'{"noise":"%b"}' % rng.randbytes(150).hex().encode() for _ in range(10)]
            wire.send(post(b"[" + b",".join(payloads) + b"]"))
            assert wire.answer().status == 202


@pytest.mark.parametrize(
    ("compression", "durability"),
    [("gzip", "disk"), ("gzip", "memory"), ("zstd", "disk"), ("none", "memory")],
)
def test_objects_are_of_the_target_size(
    service_factory: ServiceFactory, s3: FakeS3, compression: str, durability: str
) -> None:
    """On steady traffic a stored object is within 10 % of the target, once the ratio is learnt."""
    target = 64 * KIB
    service = service_factory.start(
        DURABILITY=durability,
        COMPRESSION=compression,
        OBJECT_TARGET_BYTES=target,
        OBJECT_MAX_AGE_SECONDS=3600,
    )
    send_steadily(service, requests=500)
    service.terminate()
    assert service.wait(30) == 0
    assert sum(counts(s3)) == 5000
    steady = sizes(s3)[4:-1]
    assert len(steady) >= 6
    assert all(0.9 * target <= size <= 1.1 * target for size in steady), steady


def test_objects_have_exactly_as_many_payloads_as_allowed(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """With `OBJECT_MAX_PAYLOADS=7` and one payload a request every object but the last has 7."""
    service = service_factory.start(
        DURABILITY=durability,
        OBJECT_MAX_PAYLOADS=7,
        OBJECT_MAX_AGE_SECONDS=3600,
    )
    flood = Flood(service.port, Plan(requests=100)).run()
    service.wait_stats(lambda stats: stats["stored"] == 98)
    assert counts(s3) == [7] * 14
    service.terminate()
    assert service.wait(30) == 0
    assert Counter(counts(s3)) == {7: 14, 2: 1}
    assert len({receipt.object for out in flood.outcomes for receipt in out.receipts}) == 15


def test_a_collection_stays_together_if_it_fits(
    service_factory: ServiceFactory, s3: FakeS3
) -> None:
    """A request has one receipt where its payloads fit into an object, and is cut where not."""
    service = service_factory.start(OBJECT_MAX_PAYLOADS=10)
    flood = Flood(service.port, Plan(requests=60, payloads=(1, 10))).run()
    assert {len(outcome.receipts) for outcome in flood.outcomes} == {1}
    receipts = service.post("/payloads/cut", [{"n": n} for n in range(25)]).json()["receipts"]
    assert [(each["first_line"], each["count"]) for each in receipts] == [(1, 10), (1, 10), (1, 5)]
    settle(service)
    assert max(counts(s3)) <= 10
    found = [json.loads(line)["n"] for key, _, line in s3.lines() if key.startswith("cut/")]
    assert found == list(range(25))


def test_one_payload_per_object(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """`OBJECT_MAX_PAYLOADS=1` is the original system: every payload is an object."""
    service = service_factory.start(DURABILITY=durability, OBJECT_MAX_PAYLOADS=1)
    flood = Flood(service.port, Plan(requests=50, payloads=(1, 5))).run()
    assert_promise_kept(service, s3, flood)
    assert_each_object_was_put_once(s3)
    assert set(counts(s3)) == {1}
    assert len(s3.objects()) == len(flood.acked)


def test_age_alone_seals_a_segment(service_factory: ServiceFactory, durability: str) -> None:
    """A lonely payload is stored soon after `OBJECT_MAX_AGE_SECONDS`, and not before."""
    service = service_factory.start(DURABILITY=durability, OBJECT_MAX_AGE_SECONDS=1)
    answer = service.post("/payloads", [{}])
    receipt = answer.headers["Location"]
    assert service.get(receipt).json()["state"] == "accepted"
    settle(service)
    stored = service.get(receipt).json()
    assert stored["state"] == "stored"
    name = stored["object"].rsplit("/", 1)[1]
    created = datetime.strptime(name[:21] + "+0000", "%Y%m%dT%H%M%S%f%z")
    age = stored["stored_at"] - created.timestamp()
    # S3 tells the time of an object in whole seconds.
    assert -1 < age - 1 < 5


@pytest.mark.parametrize(
    ("compression", "extension", "encoding"),
    [("gzip", ".ndjson.gz", "gzip"), ("zstd", ".ndjson.zst", "zstd"), ("none", ".ndjson", "")],
)
def test_an_object_says_what_it_is(
    service_factory: ServiceFactory, s3: FakeS3, compression: str, extension: str, encoding: str
) -> None:
    """Key, type and encoding fit its compression, and its metadata tell what is in it."""
    service = service_factory.start(COMPRESSION=compression)
    flood = Flood(service.port, Plan(requests=20, payloads=5, threads=1)).run()
    assert_promise_kept(service, s3, flood)
    for key, stored in s3.objects().items():
        lines = content(key, stored)
        assert key.endswith(extension)
        assert stored.content_type == "application/x-ndjson"
        assert stored.content_encoding == encoding
        assert stored.metadata["payloads"] == str(lines.count(b"\n"))
        assert stored.metadata["size"] == str(len(lines))
        assert stored.metadata["segment"] in key
        assert stored.put_headers["if-none-match"] == "*"


def test_the_default_key_is_hive_style(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """Stream, date and hour (UTC) are partitions, and the names sort by time."""
    service = service_factory.start(OBJECT_MAX_PAYLOADS=1)
    before = datetime.now(UTC)
    answers = [service.post("/payloads/clicks", [{}]).json() for _ in range(5)]
    settle(service)
    keys = [
        answer["receipts"][0]["object"].removeprefix(f"s3://{s3.bucket}/") for answer in answers
    ]
    assert keys == sorted(keys) == sorted(s3.objects())
    pattern = (
        r"clicks/dt=(\d{4}-\d\d-\d\d)/hour=(\d\d)/(\d{8}T\d{6})\d{6}Z-[0-9a-f]{16}\.ndjson\.gz"
    )
    for key in keys:
        found = re.fullmatch(pattern, key)
        assert found
        date, hour, moment = found.groups()
        at = datetime.strptime(moment, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        assert (date, hour) == (f"{at:%Y-%m-%d}", f"{at:%H}")
        assert abs(at - before) < timedelta(minutes=1)


def test_the_key_is_as_the_template_says(service_factory: ServiceFactory, s3: FakeS3) -> None:
    """`KEY_TEMPLATE` decides; conditional writes may be switched off."""
    service = service_factory.start(
        KEY_TEMPLATE="raw/{date}/{hour}/{stream}/{segment}.jsonl.gz", S3_CONDITIONAL_PUT="off"
    )
    flood = Flood(service.port, Plan(requests=20, streams=("a", "b"))).run()
    assert_promise_kept(service, s3, flood)
    for key, stored in s3.objects().items():
        assert re.fullmatch(r"raw/\d{4}-\d\d-\d\d/\d\d/[ab]/[0-9TZ]+-[0-9a-f]+\.jsonl\.gz", key)
        assert "if-none-match" not in stored.put_headers


def test_a_line_may_be_an_envelope_without_the_token(
    service_factory: ServiceFactory, s3: FakeS3, durability: str
) -> None:
    """`LINE_FORMAT=envelope` adds when, where and by which request; the token is stored nowhere."""
    service = service_factory.start(DURABILITY=durability, LINE_FORMAT="envelope")
    payloads = b'{"n":9007199254740993},{"n":1.0}'
    answer = service.post(
        "/payloads/clicks",
        b'{"version":"v7","token":"hush-hush","payloads":[' + payloads + b"]}",
        headers={"X-Request-ID": "r-1"},
    )
    assert answer.status == 202
    bare = service.post("/payloads", [{"n": 2}])
    flood = Flood(service.port, Plan(requests=30, payloads=3)).run()
    settle(service)
    lines = {key.split("/")[0]: line for key, _, line in s3.lines() if key.startswith("clicks/")}
    first = json.loads(lines["clicks"])
    assert lines["clicks"].endswith(b'"payload":{"n":1.0}}')
    assert set(first) == {"received_at", "stream", "version", "request_id", "payload"}
    assert (first["stream"], first["version"], first["request_id"]) == ("clicks", "v7", "r-1")
    received = datetime.fromisoformat(first["received_at"])
    assert abs(datetime.now(UTC) - received) < timedelta(minutes=1)
    other = [
        json.loads(line)
        for _, _, line in s3.lines()
        if json.loads(line)["request_id"] == bare.headers["X-Request-ID"]
    ]
    assert [(each["version"], each["payload"]) for each in other] == [(None, {"n": 2})]
    everything = b"".join(content(key, stored) for key, stored in s3.objects().items())
    assert b"hush-hush" not in everything
    assert b'"token"' not in everything
    assert b'"payload":{"n":9007199254740993}}\n' in everything
    assert len(flood.acked) + 3 == everything.count(b"\n")
