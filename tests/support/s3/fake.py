"""A test's handle on the server process."""

import contextlib
import http.client
import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.support import ROOT, wait_until
from tests.support.launch.fork import Forked, fork
from tests.support.s3.faults import Counts, Fault
from tests.support.s3.objects import StoredObject, content, unpack
from tests.support.s3.server import LOOPBACK

PROGRAM = Path(__file__).with_name("__main__.py")
# About as long as S3 waits for a client that has stopped in the middle of its body.
BODY_SECONDS = 20.0


class FakeS3:
    """A running fake S3, with everything a test may ask of it or do to it.

    As a context manager it starts and stops the process. Every method blocks for one exchange with
    the server; `bucket` is created at the start.
    """

    def __init__(
        self,
        bucket: str = "bucket",
        *,
        port: int = 0,
        seed: int = 0,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.bucket = bucket
        self.port = port
        self._options = ["--bucket", bucket, "--seed", seed, "--body-seconds", body_seconds]
        self._control_port = 0
        self._process: Forked | None = None
        # It ends with this connection, and so with us.
        self._tie: socket.socket | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it listens.

        Raises:
            RuntimeError: it ended instead; its own words are on standard error.
        """
        with socket.create_server((LOOPBACK, 0), backlog=1) as listener:
            options = ["--tied", listener.getsockname()[1], "--port", self.port, *self._options]
            self._process = fork(
                [str(PROGRAM), *map(str, options)],
                cwd=ROOT,
                environ={**os.environ, "PYTHONPATH": str(ROOT)},
                log=Path("/dev/stderr"),
            )
            ports = self._await_ports(listener)
        if not ports:
            self.stop()
            raise RuntimeError("the fake S3 did not start")
        self.port, self._control_port = map(int, ports)

    def _await_ports(self, listener: socket.socket) -> list[bytes]:
        listener.settimeout(0.1)
        while self._process is not None and self._process.poll() is None:
            with contextlib.suppress(TimeoutError):
                self._tie, _ = listener.accept()
                with self._tie.makefile("rb") as said:
                    return said.readline().split()
        return []

    def stop(self) -> None:
        """Kill the process, objects and all, and reap it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._tie is not None:
            self._tie.close()
            self._tie = None

    @property
    def endpoint(self) -> str:
        """The URL to give as `AWS_ENDPOINT_URL_S3`."""
        return f"http://{LOOPBACK}:{self.port}"

    def environ(self) -> dict[str, str]:
        """Return the variables by which boto3 finds this server and looks nowhere else."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def faults(self, *rules: Fault) -> None:
        """Put these rules in force instead of those before, and free what those held."""
        self._call("faults", json.dumps([asdict(rule) for rule in rules]).encode())

    def clear(self) -> None:
        """Serve faultlessly from now on, hung and slow requests included."""
        self.faults()

    def stop_listening(self) -> None:
        """Go down: refuse connections and break off the open ones; keep port and objects."""
        self._call("down")

    def listen_again(self) -> None:
        """Come back up on the same port."""
        self._call("up")

    def renew(self, bucket: str) -> None:
        """Be as after the start, with one empty bucket; the port stays, and connections break.

        A server for each test would cost as much as most of what they do with it.
        """
        self.bucket = bucket
        self._call(f"renew?name={quote(bucket)}")

    def create_bucket(self, name: str) -> None:
        """Create one more bucket, past all faults."""
        self._call(f"bucket?name={quote(name)}")

    def counts(self) -> Counts:
        """Return what the server has seen so far."""
        return Counts(**json.loads(self._call("counts")))

    def wait_until(
        self, condition: Callable[[Counts], bool], *, timeout: float = 50.0, what: str = "S3"
    ) -> None:
        """Block until `condition` holds for the counts.

        Raises:
            AssertionError: it did not within `timeout` seconds.
        """
        wait_until(lambda: condition(self.counts()), timeout=timeout, what=what)

    def objects(self, bucket: str | None = None) -> dict[str, StoredObject]:
        """Fetch a bucket whole, past all faults."""
        return unpack(self._call(f"objects?bucket={quote(bucket or self.bucket)}"))

    def all_keys(self) -> list[str]:
        """Fetch the keys of all objects, past all faults."""
        keys: list[str] = json.loads(self._call(f"keys?bucket={quote(self.bucket)}"))
        return keys

    def lines(self, bucket: str | None = None) -> list[tuple[str, int, bytes]]:
        """Return every line of every object, decompressed: key, line number from 1, the line.

        Raises:
            AssertionError: an object is not whole: broken compression, or a line without its end.
        """
        found = []
        for key, stored in sorted(self.objects(bucket).items()):
            *lines, rest = content(key, stored).split(b"\n")
            if rest:
                raise AssertionError(f"{key} ends in the middle of a line: {rest[:80]!r}")
            found += [(key, number, line) for number, line in enumerate(lines, start=1)]
        return found

    def _call(self, command: str, body: bytes = b"") -> bytes:
        connection = http.client.HTTPConnection(LOOPBACK, self._control_port, timeout=60)
        try:
            connection.request("POST", f"/_fake/{command}", body)
            return connection.getresponse().read()
        finally:
            connection.close()
