"""Where the service listens: several sockets at once, a Unix socket, TLS."""

import datetime as dt
import http.client
import json
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.acceptance.service import ServiceFactory, each_server, settle
from tests.support import wait_until
from tests.support.processes import free_port
from tests.support.s3 import LOOPBACK, FakeS3

BODY = b'[{"where":"here"}]'
JSON = {"Content-Type": "application/json"}


server_mode = each_server(scope="function")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=50)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def ask(connection: http.client.HTTPConnection, method: str, path: str) -> tuple[int, bytes]:
    """Ask once, and close; a POST has a collection in it."""
    try:
        connection.request(method, path, BODY if method == "POST" else None, JSON)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_all_sockets_are_served(
    service_factory: ServiceFactory, s3: FakeS3, tmp_path: Path
) -> None:
    """Two ports and a Unix socket lead to the same service, for payloads and for other routes."""
    other, unix = free_port(), tmp_path / "brigade.sock"
    service = service_factory.make("--bind", f"{LOOPBACK}:{other}", "--bind", f"unix:{unix}")
    service.start()
    service.wait_ready()
    for _ in range(2):
        for port in (service.port, other):
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=50)
            assert ask(connection, "POST", "/payloads")[0] == 202
        assert ask(UnixConnection(unix), "POST", "/payloads")[0] == 202
    assert json.loads(ask(UnixConnection(unix), "GET", "/stats")[1])["accepted"] == 6
    settle(service)
    assert len(s3.lines()) == 6
    service.terminate()
    assert service.wait(30) == 0


def write_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for loopback and its key; return their files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    paths[1].write_bytes(private)
    return paths


def test_tls_is_spoken(service_factory: ServiceFactory, s3: FakeS3, tmp_path: Path) -> None:
    """With gunicorn's `certfile` and `keyfile` the same service is there under https."""
    certificate, key = write_certificate(tmp_path)
    service = service_factory.make("--certfile", str(certificate), "--keyfile", str(key))
    service.start()
    context = ssl.create_default_context(cafile=str(certificate))

    def connect() -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", service.port, timeout=50, context=context)

    def ready() -> bool:
        try:
            return ask(connect(), "GET", "/readyz")[0] == 200
        except OSError:
            return False

    wait_until(ready, timeout=20, what="/readyz over TLS")
    status, body = ask(connect(), "POST", "/payloads")
    assert (status, json.loads(body)["accepted"]) == (202, 1)
    wait_until(lambda: len(s3.lines()) == 1, timeout=20, what="the payload in S3")
    service.terminate()
    assert service.wait(30) == 0
