"""gunicorn's master: it holds nothing that a reload should renew, and listens where it is told."""

import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.acceptance.service import SERVER_MODES, ServiceFactory, each_server, executed
from tests.support import ROOT, wait_until
from tests.support.processes import free_port
from tests.support.s3 import FakeS3
from tests.support.service import Service

SCHEMA = """
from marshmallow import Schema, fields

class Event(Schema):
    {member} = fields.Integer(required=True)
"""
MODULES = """
import json, runpy, sys
from gunicorn.util import load_class
conf = runpy.run_path("gunicorn.conf.py")
load_class(conf["worker_class"])
print(json.dumps(sorted(sys.modules)))
"""


server_mode = each_server(scope="function")
launch = executed()


def test_the_master_imports_nothing_that_a_reload_renews(
    s3: FakeS3, tmp_path: Path, server_mode: str
) -> None:
    """Its settings and worker class bring no Flask, boto3, schema or pipeline with them."""
    environ = Service(tmp_path, s3, settings=SERVER_MODES[server_mode][1]).environ()
    command = [sys.executable, "-c", MODULES]
    ran = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, timeout=60, check=True
    )
    loaded = set(json.loads(ran.stdout))
    assert "workers.settings.settings" in loaded
    assert not loaded & {"flask", "werkzeug", "boto3", "botocore", "granian", "wsgi"}
    assert not loaded & {"app.factory", "workers.pipeline", "workers.spool.spool"}
    assert not [name for name in loaded if name.startswith(("app.ingest", "app.routes"))]


def test_a_reload_renews_the_schema(service_factory: ServiceFactory, tmp_path: Path) -> None:
    """The new processes read the operator's module again."""
    module = tmp_path / "events.py"
    module.write_text(SCHEMA.format(member="before"))
    service = service_factory.start(
        PYTHONPATH=tmp_path, PAYLOAD_SCHEMA="events:Event", PYTHONDONTWRITEBYTECODE=1
    )
    assert service.post("/payloads", [{"before": 1}]).status == 202
    assert service.post("/payloads", [{"after": 1}]).status == 422
    module.write_text(SCHEMA.format(member="after"))
    service.signal(signal.SIGHUP)
    wait_until(
        lambda: service.post("/payloads", [{"after": 1}]).status == 202,
        timeout=20,
        what="the new schema",
    )


def status_at(host: str, port: int) -> int:
    """Ask for /healthz at an address."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


class PortService(Service):
    """A service that is given a port, and no address."""

    def command(self) -> list[str]:
        """Return what is executed, and its arguments."""
        return [part for part in super().command() if part != "--bind" and ":" not in part]


def test_a_port_is_served_on_ipv6_and_ipv4(s3: FakeS3, tmp_path: Path, server_mode: str) -> None:
    """A cluster may have only one of them."""
    settings = {**SERVER_MODES[server_mode][1], "WEB_CONCURRENCY": 1}
    with PortService(tmp_path, s3, settings=settings, port=free_port()) as service:
        assert [status_at(host, service.port) for host in ("127.0.0.1", "::1")] == [200, 200]
