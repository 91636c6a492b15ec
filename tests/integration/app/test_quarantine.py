"""Damaged files, as an operator replays them: by a click, and by a command."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from tests.integration.app.application import Service, Start, problem
from tests.support.s3 import FakeS3
from workers.spool import frames
from workers.upload.s3 import Bucket

ACTION = {"X-Requested-With": "console"}


def damaged(start: Start, s3: FakeS3) -> tuple[Service, Path, bytes]:
    """Damage a segment before its upload; return where its file is kept, and it whole."""
    s3.stop_listening()
    before = start(OBJECT_MAX_AGE_SECONDS=60, DRAIN_SECONDS=0.5)
    for n in range(3):
        before.post([{"n": n}])
    before.pipeline.stop()
    spool = before.pipeline.spool.root
    [path] = spool.glob("*/*.ready")
    whole = path.read_bytes()
    with path.open("rb") as file:
        found = list(frames.read(file, frames.seed(path.stem)))
    content = bytearray(whole)
    content[found[2].end - 1] ^= 0x10
    path.write_bytes(content)
    s3.listen_again()
    service = start()
    service.until(dead=1, stored=2)
    return service, spool / "quarantine" / path.name, whole


def flask(service: Service, *words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(FlaskGroup(create_app=lambda: service.app), words)


def test_a_click_replays_what_was_lost(start: Start, s3: FakeS3) -> None:
    """Not while the file is damaged; afterwards the payload is in S3, once, and none is dead."""
    service, kept, whole = damaged(start, s3)
    path = f"/console/quarantine/{kept.stem}/replay"
    assert service.client.post(path).status_code == 403
    refused = service.client.post(path, headers=ACTION)
    assert refused.status_code == 409
    assert "cannot be read whole: no frame at byte" in problem(refused)["detail"]
    kept.write_bytes(whole)
    answer = service.client.post(path, headers=ACTION)
    assert answer.get_json() == {"segment": kept.stem, "payloads": 1}
    service.until(dead=0, stored=3, accepted=3)
    payloads = [line for _, _, line in s3.lines() if line]
    assert sorted(payloads) == [b'{"n": 0}', b'{"n": 1}', b'{"n": 2}']
    assert problem(service.client.post(path, headers=ACTION))["status"] == 404
    data = service.client.get("/console/data").get_json()
    assert data["quarantine"] == {"count": 0, "newest": []}


def test_the_commands(
    start: Start, s3: FakeS3, real_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """List, show, replay; each says in one line what it cannot do."""
    monkeypatch.setattr(Bucket, "connect", lambda *_, **__: real_bucket)
    service, kept, whole = damaged(start, s3)
    assert flask(service, "quarantine", "list").stdout.startswith(f"{kept.stem}  no frame at byte")
    shown = flask(service, "quarantine", "show", kept.stem)
    assert shown.stdout == '{"n": 0}\n\n{"n": 2}\n'
    failed = flask(service, "quarantine", "replay", kept.stem)
    assert failed.exit_code == 1
    assert failed.stderr.startswith("Error: not replayed: it cannot be read whole")
    kept.write_bytes(whole)
    done = flask(service, "quarantine", "replay", kept.stem)
    assert done.stdout.startswith(f"1 payload of {kept.stem} goes up")
    assert flask(service, "quarantine", "list").stderr == "no damaged files\n"
    service.pipeline.adopt_now()
    service.until(dead=0, stored=3)
