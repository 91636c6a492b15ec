"""What the baselines share: HTTP in, one PUT per payload out, counts that the bench reads.

Plain WSGI without a schema check, leaner than the service: what is compared is the design behind.
"""

import http.client
import logging
import mmap
import os
import struct
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from workers.errors import BucketBrigadeError
from workers.settings.settings import load_settings
from workers.upload.body import ObjectBody
from workers.upload.s3 import Bucket

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

log = logging.getLogger(__name__)
TALLY = struct.Struct("=QQ")
JSON = [("Content-Type", "application/json")]


class Envelope(msgspec.Struct):
    """A collection; its payloads stay the bytes that came."""

    payloads: list[msgspec.Raw]


class TooManyThreads(Exception):
    """A request asks for more threads than the bench allows."""


class Tally:
    """This process's payloads accepted and stored, in a file that outlives it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{os.getpid()}.tally"
        path.write_bytes(bytes(TALLY.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), TALLY.size)
        self._lock = threading.Lock()
        self._accepted = self._stored = 0

    def add(self, *, accepted: int = 0, stored: int = 0) -> None:
        """Count payloads."""
        with self._lock:
            self._accepted += accepted
            self._stored += stored
            TALLY.pack_into(self._map, 0, self._accepted, self._stored)


def read_tallies(directory: Path) -> tuple[int, int]:
    """Sum what all processes accepted and stored."""
    sums = [TALLY.unpack(path.read_bytes()) for path in directory.glob("*.tally")]
    return sum(accepted for accepted, _ in sums), sum(stored for _, stored in sums)


class Store:
    """One object per payload, uncompressed, as the original stored it. Shared by all threads."""

    def __init__(self) -> None:
        settings = load_settings()
        self.tally = Tally(settings.spool_dir)
        self._name = settings.s3_bucket
        self._bucket = Bucket.connect(settings)

    def put(self, payload: bytes) -> None:
        """Upload a payload; blocks. One that fails is logged and lost."""
        try:
            key = f"{uuid.uuid4().hex}.json"
            self._bucket.put(self._name, key, ObjectBody.of(payload), metadata={}, encoding=None)
        except BucketBrigadeError:
            log.exception("lost a payload")
        else:
            self.tally.add(stored=1)


class Front:
    """A WSGI application that gives each collection's payloads to `take`, then answers 202."""

    def __init__(self, take: Callable[[Sequence[bytes]], None], *, tally: Tally) -> None:
        self._take = take
        self._tally = tally
        self._decode = msgspec.json.Decoder(Envelope).decode

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        """Answer a request (PEP 3333)."""
        status = 200 if environ["REQUEST_METHOD"] == "GET" else self._accept(environ)
        start_response(f"{status} {http.client.responses[status]}", JSON)
        return [b"{}"]

    def _accept(self, environ: dict[str, Any]) -> int:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        payloads = [bytes(payload) for payload in self._decode(body).payloads]
        try:
            self._take(payloads)
        except TooManyThreads:
            return 503
        self._tally.add(accepted=len(payloads))
        return 202
