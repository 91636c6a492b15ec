"""An access file, its keys, and a client that sends them. The file has their digests only."""

import hashlib
import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import wait_until
from tests.support.s3 import LOOPBACK, FakeS3
from tests.support.service import Answer, Service

WRITER, PAGE, READER = "writer-key", "page-key", "reader-key"
ADMIN, LIMITED, METERED = "admin-key", "limited-key", "metered-key"
JSON = {"Content-Type": "application/json"}


def sha256(key: str) -> str:
    """Return the digest that an access file has of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


FILE = f"""
[access]
envelope_token = true

[keys.writer]
sha256 = ["{sha256(WRITER)}"]
streams = ["default", "web-*"]

[keys.page]
sha256 = ["{sha256(PAGE)}"]
streams = ["web-*"]
url = true

[keys.reader]
sha256 = ["{sha256(READER)}"]
scope = "read"

[keys.admin]
sha256 = ["{sha256(ADMIN)}"]
scope = "admin"

[keys.limited]
sha256 = ["{sha256(LIMITED)}"]
requests_per_second = 2

[keys.metered]
sha256 = ["{sha256(METERED)}"]
bytes_per_second = 1000000

[cors]
origins = ["https://shop.example"]
streams = ["web-*"]

[webhooks.github]
scheme = "github"
secrets = ["env:GITHUB_SECRET"]

[webhooks.slack]
scheme = "slack"
secrets = ["env:SLACK_SECRET"]

[webhooks.plain]
scheme = "none"
stream = "web-plain"
status = 200
body = '{{"ok":true}}'
verify_token = "meta-token"

[endpoints."/quiet"]
stream = "quiet"
status = 204

[endpoints."/v1/batch"]
stream = "segment"
payloads = "/batch"
key = "/writeKey"
envelope = true
status = 200
body = '{{"success":true}}'
"""


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests to one service, and looks into its bucket."""

    service: Service
    s3: FakeS3
    access_file: Path

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send one request; underscores in header names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(LOOPBACK, self.service.port, timeout=30)
        try:
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, key: str | None = None, /, **headers: str) -> Answer:
        """POST JSON, with a key if there is one."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content_Type": "application/json", **headers}
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        return self.request("POST", path, raw, **given)

    def stored(self, stream: str, wanted: Any) -> bool:
        """Wait until a line of a stream is what is wanted."""
        return self.stored_as(stream, lambda line: bool(line == wanted))

    def stored_as(self, stream: str, condition: Callable[[Any], bool]) -> bool:
        """Wait until a condition holds for a line of a stream."""
        wait_until(
            lambda: any(
                key.startswith(f"{stream}/") and condition(json.loads(line))
                for key, _, line in self.s3.lines()
            ),
            timeout=20,
            what=f"a line in {stream}",
        )
        return True
