"""Lone surrogate escapes: taken, byte for byte as they were sent."""

import json
from pathlib import Path

import pytest

from app.http.problems import NotJson, WrongShape
from app.ingest.formats.decoding import decode
from app.ingest.formats.surrogates import Masked
from app.ingest.handler import IngestHandler
from tests.support.bench import settings_for
from tests.support.doubles import DictBucket
from workers.pipeline import Pipeline

JSON, NDJSON = "application/json", "application/x-ndjson"


@pytest.mark.parametrize(
    "payload",
    [
        rb'{"a":"\ud83d"}',
        rb'{"a":"\uDE00"}',
        rb'{"a":"\uD83d\ud83D\udE00x\udbff"}',
        rb'{"\ud800":{"\udfff":["\uDbFf\n"]}}',
        rb'{"a":"\\\ud800 \\ud800 \\\\ud800"}',
        rb'{"a":"\ud83d\u0041"}',
        '{"a":"\\ud83d\ue000é"}'.encode(),
    ],
)
def test_a_lone_surrogate_is_stored_as_sent(payload: bytes) -> None:
    """In values and in names, in an array, an envelope, lines and pretty-printed JSON."""
    wanted = b'{"n":1}\n' + payload + b"\n"
    both = b'{"n":1},' + payload
    for body in (b"[" + both + b"]", b"\n[" + both + b"]", b'{"payloads":[' + both + b"]}"):
        assert decode(body, content_type=JSON).lines == wanted
    assert decode(wanted, content_type=NDJSON).lines == wanted


def test_an_envelope_s_own_members_may_hold_one() -> None:
    """Its version is read as Python reads it."""
    body = rb'{"version":"\ud83d","token":"\uDE00","payloads":[{}]}'
    collection = decode(body, content_type=JSON)
    assert collection.version == json.loads(body)["version"]
    assert collection.token == json.loads(body)["token"]


def test_a_fault_beside_one_is_named() -> None:
    """An unknown member with such a name is pointed at by that name."""
    with pytest.raises(WrongShape) as caught:
        decode(rb'{"\ud83d":1,"payloads":[{}]}', content_type=JSON)
    assert [fault.pointer for fault in caught.value.errors] == ["/\ud83d"]
    assert rb"/\ud83d" in caught.value.body()


@pytest.mark.parametrize(
    "body",
    [rb'[{"a":"\ud83"}]', rb'[{"a":"\ud83d}]', rb'[{"a":\ud83d}]', rb'["\ud83d]', rb"[{}\ud83d]"],
)
def test_what_is_broken_stays_refused(body: bytes) -> None:
    """Only whole escapes in strings are taken."""
    with pytest.raises(NotJson):
        decode(body, content_type=JSON)


def test_a_body_without_one_is_not_masked() -> None:
    """Pairs and escaped backslashes are none."""
    assert Masked.of(rb'["\ud83d\ude00"]') is None
    assert Masked.of(rb'["\\ud83d"]') is None
    assert Masked.of(b"[]") is None


def test_the_envelope_around_a_line_may_hold_one(tmp_path: Path) -> None:
    """With LINE_FORMAT=envelope the version is written as an escape."""
    pipeline = Pipeline(
        settings_for(tmp_path, DURABILITY="memory", LINE_FORMAT="envelope"), bucket=DictBucket()
    )
    handler = IngestHandler(pipeline.settings, pipeline=lambda: pipeline)
    handler.take("s", rb'{"version":"\uD83D","payloads":[{}]}', content_type=JSON)
    [segment] = pipeline.process_spool.unfinished()
    [line] = b"".join(segment.body.read()).splitlines()
    assert json.loads(line)["version"] == "\ud83d"
