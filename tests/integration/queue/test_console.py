"""The console's routes on a queue: any process that accepts shows, and replays, what others did."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.access.credentials import digest
from tests.integration.app.application import Service
from tests.support import wait_until
from tests.support.redis.server import RedisProcess
from tests.support.s3 import FakeS3, Fault
from workers.upload.s3 import Bucket

ACTION = {"X-Requested-With": "console"}
KEYS = {
    name: {"Authorization": f"Bearer {name}"} for name in ("admin", "mobile", "reader", "unknown")
}


@pytest.fixture
def tiers(
    tmp_path: Path,
    shared_redis: RedisProcess,
    real_bucket: Bucket,
    s3: FakeS3,
) -> Iterator[tuple[Service, Service]]:
    """Run a process that accepts, and one that does all."""
    access_file = tmp_path / "access.toml"
    scopes = {"admin": "admin", "mobile": "write", "reader": "read"}
    access_file.write_text(
        "".join(
            f'[keys.{name}]\nsha256 = ["{digest(name).hex()}"]\nscope = "{scope}"\n'
            for name, scope in scopes.items()
        )
    )
    settings = {
        "DURABILITY": "queue",
        "S3_BUCKET": s3.bucket,
        "QUEUE_URL": shared_redis.url,
        "RECEIPT_SECRET": "shared",
        "ACCESS_FILE": access_file,
    }
    web = Service(tmp_path / "web", bucket=real_bucket, ROLE="web", **settings)
    other = Service(tmp_path / "other", bucket=real_bucket, ROLE="all", **settings)
    yield web, other
    web.pipeline.stop()
    other.pipeline.stop()


def seen(service: Service) -> dict[str, Any]:
    """Ask for what the console shows."""
    answer = service.client.get("/console/data", headers=KEYS["admin"])
    assert answer.status_code == 200, answer.data
    found: dict[str, Any] = answer.get_json()
    return found


def test_keys_are_counted_over_machines(tiers: tuple[Service, Service]) -> None:
    """What each process admitted and refused by a key's name, added up; those at rest too."""
    web, other = tiers
    for service in (web, other, other):
        assert service.post([{}], **KEYS["mobile"]).status_code == 202
        assert service.post([{}], **KEYS["reader"]).status_code == 403
        assert service.post([{}], **KEYS["unknown"]).status_code == 401

    def by_name() -> dict[str, Any]:
        return {key["name"]: key for key in seen(web)["keys"]}

    wait_until(lambda: by_name()["mobile"]["requests"] == 3, timeout=20, what="the requests")
    wait_until(lambda: by_name()["reader"]["refused"] == {"403": 3}, timeout=20, what="refusals")
    assert by_name().keys() == {"admin", "mobile", "reader"}


def test_a_dead_letter_is_shown_and_replayed(tiers: tuple[Service, Service], s3: FakeS3) -> None:
    """By a process that does not upload; a second replay finds nothing."""
    web, other = tiers
    s3.faults(Fault(kind="error", status=400, code="EntityTooLarge"))
    other.post([{"n": 1}], **KEYS["mobile"])
    wait_until(lambda: seen(web)["dead_letters"]["count"] == 1, timeout=20, what="the letter")
    s3.clear()
    [letter] = seen(web)["dead_letters"]["newest"]
    assert (letter["payloads"], letter["stream"], letter["size"]) == (1, "default", 9)
    assert "EntityTooLarge" in letter["reason"]
    name, admin = letter["name"], KEYS["admin"]
    shown = web.client.get(f"/console/lines?dead_letter={name}", headers=admin).get_json()
    assert shown == {"lines": ['{"n": 1}'], "more": False}
    path = f"/console/dead-letters/{name}/replay"
    assert web.client.post(path, headers=admin).status_code == 403
    done = web.client.post(path, headers={**admin, **ACTION})
    assert done.get_json() == {"segment": name, "payloads": 1}
    wait_until(lambda: seen(web)["stored"] == 1, timeout=20, what="the object")
    found = seen(web)
    assert (found["dead"], found["pending"], found["dead_letters"]["count"]) == (0, 0, 0)
    assert web.client.post(path, headers={**admin, **ACTION}).status_code == 404
    damaged = f"/console/quarantine/{name}/replay"
    assert web.client.post(damaged, headers={**admin, **ACTION}).status_code == 404
    assert web.client.get(f"/console/lines?damaged={name}", headers=admin).status_code == 404
