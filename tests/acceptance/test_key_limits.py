"""A key's limit over many connections to many processes, for ten seconds of real time."""

import http.client
import threading
import time
from collections import Counter
from pathlib import Path

from tests.acceptance.access.client import sha256
from tests.acceptance.service import ServiceFactory
from tests.support.s3 import LOOPBACK

RATE, SECONDS, CONNECTIONS = 20, 10, 12
# Of each connection: together they ask for more than ten times as much as is let through.
PAUSE_SECONDS = 0.03


def test_a_limit_holds_for_all_processes_together(
    service_factory: ServiceFactory, tmp_path: Path
) -> None:
    """Three processes let no more than 10 % beyond the limit through, on a dozen connections.

    How fast the machine is decides how often a client is refused, and not how much passes.
    """
    path = tmp_path / "access.toml"
    path.write_text(
        f'[keys.k]\nsha256 = ["{sha256("k")}"]\nrequests_per_second = {RATE}\n', encoding="utf-8"
    )
    service = service_factory.make(ACCESS_FILE=path, WEB_CONCURRENCY=3)
    service.start()
    service.wait_ready()
    statuses: Counter[int] = Counter()
    lock = threading.Lock()
    began = time.monotonic()

    def client() -> None:
        while time.monotonic() < began + SECONDS:
            # A connection each: any of the processes may take it.
            connection = http.client.HTTPConnection(LOOPBACK, service.port, timeout=30)
            headers = {"Content-Type": "application/json", "Authorization": "Bearer k"}
            connection.request("POST", "/payloads", b"[{}]", headers)
            status = connection.getresponse().status
            connection.close()
            with lock:
                statuses[status] += 1
            time.sleep(PAUSE_SECONDS)

    threads = [threading.Thread(target=client) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - began
    assert set(statuses) == {202, 429}
    assert statuses[202] <= 1.1 * RATE * elapsed
