"""Credentials that come later, or change: the service accepts meanwhile, and needs no restart."""

import http.server
import json
import random
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import ServiceFactory, settle
from tests.support import wait_until
from tests.support.proxy import Manners, Proxy, refuse_keys_but
from tests.support.s3 import LOOPBACK, FakeS3
from tests.support.service import Service

# Of the keys in the environment botocore takes blank ones for none.
NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


class Endpoint(http.server.ThreadingHTTPServer):
    """A credentials endpoint as containers have one; `status` is what it answers with."""

    daemon_threads = True
    status = HTTPStatus.INTERNAL_SERVER_ERROR


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for it."""

    server: Endpoint

    def do_GET(self) -> None:
        """Give the credentials, or the error that is set."""
        keys = {"AccessKeyId": "role", "SecretAccessKey": "s", "Token": "t"}
        body = json.dumps({**keys, "Expiration": "2999-01-01T00:00:00Z"}).encode()
        self.send_response_only(self.server.status)
        self.end_headers()
        self.wfile.write(body if self.server.status == HTTPStatus.OK else b"{}")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Run a credentials endpoint that answers 500 at first."""
    server = Endpoint((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def refusals(service: Service) -> list[dict[str, Any]]:
    """Return the PUTs that failed, as the log has them."""
    return [event for event in service.logs().events if event["event"] == "put failed"]


def write_keys(file: Path, key: str) -> None:
    """Replace the credentials file, as rotation does."""
    new = file.with_suffix(".new")
    new.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")
    new.rename(file)


def test_a_file_that_comes_later_and_is_rotated(
    service_factory: ServiceFactory, s3: FakeS3, tmp_path: Path
) -> None:
    """Without credentials all is accepted; those that come, and those that follow, are found."""
    valid = {"first"}
    file = tmp_path / "credentials"
    with Proxy(s3.port, manners=Manners(refuse=refuse_keys_but(valid))) as proxy:
        service = service_factory.start(
            AWS_SHARED_CREDENTIALS_FILE=file, **NO_KEYS, **proxy.environ()
        )
        assert service.post("/payloads", [{"n": 1}]).status == 202
        wait_until(lambda: bool(refusals(service)), timeout=20, what="a PUT without credentials")
        assert {event["reason"] for event in refusals(service)} == {"denied"}
        assert service.get("/readyz").status == 200
        write_keys(file, "first")
        settle(service, timeout=60)
        valid.clear()
        assert service.post("/payloads", [{"n": 2}]).status == 202
        invalid = lambda: "InvalidAccessKeyId" in refusals(service)[-1]["error"]  # noqa: E731
        wait_until(invalid, timeout=20, what="a refusal of the old key")
        write_keys(file, "second")
        valid.add("second")
        settle(service, timeout=60)
    assert sorted(line for _, _, line in s3.lines()) == [b'{"n": 1}', b'{"n": 2}']


def test_an_endpoint_that_fails_at_the_start(
    service_factory: ServiceFactory, s3: FakeS3, endpoint: Endpoint
) -> None:
    """A credentials endpoint that answers 500 ends neither a start nor a replacement."""
    service = service_factory.start(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://{LOOPBACK}:{endpoint.server_port}/role",
        **NO_KEYS,
    )
    service_factory.expect_errors("Worker (pid:")
    assert service.post("/payloads", [{"n": 1}]).status == 202
    wait_until(lambda: bool(refusals(service)), timeout=30, what="a PUT without credentials")
    service.kill_random_child(random.Random(1))
    service.wait_ready()
    assert service.post("/payloads", [{"n": 2}]).status == 202
    assert s3.objects() == {}
    endpoint.status = HTTPStatus.OK
    settle(service, timeout=60)
    assert sorted(line for _, _, line in s3.lines()) == [b'{"n": 1}', b'{"n": 2}']


def test_a_profile_that_goes_and_comes_back(
    service_factory: ServiceFactory, s3: FakeS3, tmp_path: Path
) -> None:
    """With boto3's files emptied a killed process is replaced all the same, and accepts."""
    service_factory.expect_errors("Worker (pid:")
    file = tmp_path / "credentials"
    write_keys(file, "first")
    service = service_factory.start(
        AWS_SHARED_CREDENTIALS_FILE=file, AWS_PROFILE="default", **NO_KEYS
    )
    file.write_text("")
    service.kill_random_child(random.Random(1))
    service.wait_ready()
    assert service.post("/payloads", [{"n": 1}]).status == 202
    wait_until(lambda: bool(refusals(service)), timeout=30, what="a PUT without a profile")
    assert "profile" in refusals(service)[0]["error"]
    write_keys(file, "first")
    settle(service, timeout=60)
    assert [line for _, _, line in s3.lines()] == [b'{"n": 1}']


def test_an_unknown_profile_is_refused_at_the_start(service_factory: ServiceFactory) -> None:
    """A profile that is nowhere, and an endpoint without its scheme, end a start before a port."""
    for name, value in (("AWS_PROFILE", "nonesuch"), ("AWS_ENDPOINT_URL_S3", "127.0.0.1:9000")):
        service = service_factory.make(**{name: value})
        service.start()
        assert service.wait(20.0) not in {0, None}
        said = service.log_path.read_text()
        assert f"  {name}: " in said
        assert "Listening at" not in said
        assert "Traceback" not in said
        # This is for a person at a terminal; the log has not begun.
        service.log_path.write_text("")
