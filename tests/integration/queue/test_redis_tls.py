"""TLS and ACL users: what `QUEUE_URL` may say, and how each mistake in it is named."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

from app.factory import create_app
from tests.integration.app.application import Service, problem
from tests.support.bench import settings_for
from tests.support.certificates import make_certificate
from tests.support.processes import free_port
from tests.support.redis.server import RedisProcess, knows_tls, programs
from tests.support.s3 import LOOPBACK, FakeS3
from tests.support.tools import needed
from workers.errors import QueueError
from workers.pipeline import Pipeline
from workers.queue import redis_client
from workers.queue.redis_client import RedisServer
from workers.queue.redis_health import try_server
from workers.settings.queue import read_redis_url
from workers.upload.s3 import Bucket

# What docs/scale.md grants the service's user.
ACL = (
    "~{bucket-brigade}:* +@read +@write +@scripting +@connection -@dangerous "
    "+time +info +wait +config|get"
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server with TLS; `authority` and `other` are files of an authority, its own and another."""

    redis: RedisProcess
    tls_port: int
    authority: Path
    other: Path

    def url(self, *, password: str = "pw", port: int = 0, authority: Path | None = None) -> str:
        """Return the `QUEUE_URL` of the user."""
        place = f"app:{password}@{LOOPBACK}:{port or self.tls_port}"
        return f"rediss://{place}?ssl_ca_certs={authority or self.authority}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a server with a port for TLS, and one without for the test's own client."""
    program = needed(next(filter(knows_tls, programs()), None), "a redis-server with TLS")
    directories = [tmp_path_factory.mktemp(name) for name in ("ours", "other")]
    ours, other = map(make_certificate, directories)
    port = free_port()
    options = (
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(ours.authority), "--tls-key-file", str(ours.key)),
    )
    with RedisProcess(program, tmp_path_factory.mktemp("redis"), options=options) as redis:
        client = redis.client()
        client.execute_command("ACL", "SETUSER", "app", "on", ">pw", *ACL.split())
        client.close()
        yield Server(redis, port, ours.authority, other.authority)


@pytest.fixture
def start(tmp_path: Path, real_bucket: Bucket, s3: FakeS3) -> Iterator[Callable[[str], Service]]:
    """Start services with a `QUEUE_URL`; stop them."""
    started: list[Service] = []

    def begin(url: str) -> Service:
        more = {"DURABILITY": "queue", "RECEIPT_SECRET": "s", "QUEUE_URL": url}
        started.append(Service(tmp_path, bucket=real_bucket, S3_BUCKET=s3.bucket, **more))
        return started[-1]

    yield begin
    for each in started:
        each.pipeline.stop()


def test_payloads_go_over_tls_as_a_user(
    server: Server, start: Callable[[str], Service], s3: FakeS3
) -> None:
    """Accepted, taken, stored and counted by a user who may do no more than the service needs."""
    service = start(server.url())
    assert service.post([{"n": 1}]).status_code == 202
    service.until(stored=1)
    assert [line for _, _, line in s3.lines()] == [b'{"n": 1}']
    assert service.client.get("/readyz").status_code == 200


WRONG: dict[str, tuple[Callable[[Server], str], str]] = {
    "password": (
        lambda server: server.url(password="wrong"),
        "refuses the user and password of QUEUE_URL",
    ),
    "authority": (
        lambda server: server.url(authority=server.other),
        "certificate is not trusted (ssl_ca_certs of QUEUE_URL)",
    ),
    "no TLS": (
        lambda server: f"redis://app:pw@{LOOPBACK}:{server.tls_port}",
        "if it expects TLS, QUEUE_URL begins with rediss://",
    ),
    "TLS to a port without": (
        lambda server: server.url(port=server.redis.port),
        "if it has no TLS, QUEUE_URL begins with redis://",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_named(server: Server, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence is that of readiness, of a 503 and of `flask check`, without the password."""
    monkeypatch.setattr(redis_client, "ANSWER_SECONDS", 0.5)
    make, sentence = WRONG[mistake]
    found = RedisServer(read_redis_url(make(server)))
    with pytest.raises(QueueError) as caught:
        try_server(found, max_bytes=None, replicas=0)
    assert sentence in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_wrong_password_is_a_503_and_a_failed_check(
    server: Server, start: Callable[[str], Service], tmp_path: Path, s3: FakeS3
) -> None:
    """Requests are refused, to come again; readiness is red; the command exits with 1."""
    url = server.url(password="wrong")
    service = start(url)
    answer = service.post([{"n": 1}])
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    problem(answer)
    ready = service.client.get("/readyz")
    assert ready.status_code == 503
    assert "refuses the user and password of QUEUE_URL" in ready.get_json()["detail"]
    settings = settings_for(
        tmp_path,
        S3_BUCKET=s3.bucket,
        DURABILITY="queue",
        RECEIPT_SECRET="s",
        QUEUE_URL=url,
        ROLE="web",
    )

    def no_pipeline() -> Pipeline:
        raise AssertionError("a command started a pipeline")

    flask = FlaskGroup(create_app=lambda: create_app(settings, pipeline=no_pipeline))
    ran = CliRunner().invoke(flask, ["check"])
    assert ran.exit_code == 1
    assert (
        "FAIL queue: reach, write, configuration: the Redis server refuses the user" in ran.output
    )


def test_an_authority_that_is_not_there() -> None:
    """Said at the start, as is one without TLS."""
    with pytest.raises(ValueError, match="there is no file /nowhere"):
        read_redis_url("rediss://h?ssl_ca_certs=/nowhere")
    with pytest.raises(ValueError, match="for rediss:// only"):
        read_redis_url("redis://h?ssl_ca_certs=/nowhere")
