"""The short way of plain POSTs: who takes it, and that its answers are those of the long way."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.ingest.handler import IngestHandler
from tests.support.bench import settings_for
from tests.unit.servers.conftest import Served
from tests.unit.servers.engine import Request
from workers.pipeline import Pipeline


def answers(served: Served, body: bytes, **headers: str) -> list[tuple[int, bytes]]:
    """POST a body, and return what is answered."""
    request = Request(content_length=str(len(body)), content_type="application/json", **headers)
    served.router.request(request)
    request.coming.arrive(body)
    return [(answer.status, answer.body) for answer in request.answers]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Make a router."""
    return Served(tmp_path)


@pytest.fixture
def plain(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note what takes the short way."""
    taken: list[bytes] = []
    take = served.handler.take_plain

    def note(stream: str, body: bytes, **more: Any) -> None:
        taken.append(body)
        take(stream, body, **more)

    monkeypatch.setattr(served.handler, "take_plain", note)
    return taken


@pytest.mark.parametrize(
    "headers",
    [
        {"prefer": "handling=lenient"},
        {"idempotency_key": ""},
        {"content_encoding": "identity"},
    ],
)
def test_a_header_with_a_meaning_leads_the_long_way(
    served: Served, plain: list[bytes], headers: dict[str, str]
) -> None:
    """A preference and an encoding are not overlooked, an empty key neither."""
    assert [status for status, _ in answers(served, b"[{}]", x_other="1")] == [202]
    assert plain == [b"[{}]"]
    assert len(answers(served, b"[{}]", **headers)) == 1
    assert len(plain) == 1


@pytest.mark.parametrize("body", [b"[1]", b"[", b" ", b"{}", b'{"payloads":[]}', b"\xff"])
def test_both_ways_refuse_alike(served: Served, plain: list[bytes], body: bytes) -> None:
    """The same fault has the same status and document, whichever way it was found."""
    short = answers(served, body)
    assert plain == [body]
    assert short == answers(served, body, content_encoding="identity")
    assert len(plain) == 1


def test_a_setting_for_lines_leaves_no_plain_way(tmp_path: Path, served: Served) -> None:
    """Where lines are envelopes all go the long way."""

    def pipeline() -> Pipeline:
        return served.pipeline

    assert IngestHandler(settings_for(tmp_path), pipeline=pipeline).is_plain
    enveloped = settings_for(tmp_path, LINE_FORMAT="envelope")
    assert not IngestHandler(enveloped, pipeline=pipeline).is_plain


@pytest.mark.parametrize("body", [b'{"payloads":[{"a":1}]}', b'[{"a":1},{"a":"x"},{"a":1}]'])
def test_both_ways_have_the_same_partitions(tmp_path: Path, body: bytes) -> None:
    """With a field of payloads in the key: the same receipts but for their lines."""
    served = Served(tmp_path, KEY_TEMPLATE="{stream}/{payload.a}/{segment}")
    taken: list[bytes] = []
    take = served.handler.take_plain

    def note(stream: str, body: bytes, **more: Any) -> None:
        taken.append(body)
        take(stream, body, **more)

    served.handler.take_plain = note  # type: ignore[method-assign]
    short, long = (answers(served, body, **more) for more in ({}, {"content_encoding": "identity"}))
    assert taken == [body]
    assert [_places(answer) for _, answer in short] == [_places(answer) for _, answer in long]
    assert _places(short[0][1])[0][0].startswith("s3://bucket/default/1/")


def _places(answer: bytes) -> list[tuple[str, int, Any]]:
    receipts = json.loads(answer)["receipts"]
    return [(each["object"], each["count"], each.get("indexes")) for each in receipts]
