"""The real service as processes: gunicorn on a loopback port, its signals, its memory, its end.

Knows the service by its command line, its environment and its HTTP contract; imports none of it.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support import ROOT, wait_until
from tests.support.launch import Launch, Launched
from tests.support.launch.execute import execute
from tests.support.logs import Logs, read_logs
from tests.support.processes import await_end, free_port, processes_of, resident_bytes
from tests.support.s3 import LOOPBACK, FakeS3

# Beside this Python: `python -m gunicorn` cannot be executed again, as SIGUSR2 makes it.
GUNICORN = Path(sys.executable).with_name("gunicorn")
# Enough for the traceback of an app that cannot start under the two that gunicorn adds.
TAIL_LINES = 80


class Answer(NamedTuple):
    """What the service said; `headers` takes any case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


class Service:
    """The service in a session of its own, with a clean environment and all files in `workdir`.

    As a context manager it starts, waits until ready, and always kills and reaps every process. It
    may be started again after its end: same port, same spool, the log goes on.
    """

    def __init__(
        self,
        workdir: Path,
        s3: FakeS3,
        *,
        settings: Mapping[str, object] | None = None,
        port: int | None = None,
        root: Path = ROOT,
        app: str = "wsgi:app",
        arguments: Sequence[str] = (),
        launch: Launch = execute,
    ) -> None:
        self.port = port or free_port()
        self.settings = {name: str(value) for name, value in (settings or {}).items()}
        self.spool_dir = Path(self.settings.get("SPOOL_DIR", workdir / "spool"))
        self.log_path = workdir / "service.log"
        self._home = workdir / "home"
        self._s3 = s3
        self._root = root
        self._app = app
        self._arguments = arguments
        self.launch = launch
        self._process: Launched | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.kill_group()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_group()

    def environ(self) -> dict[str, str]:
        """Return the whole environment the service gets."""
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "PORT": str(self.port),
            "S3_BUCKET": self._s3.bucket,
            "SPOOL_DIR": str(self.spool_dir),
        }
        return {**base, **self._s3.environ(), **self.settings}

    def command(self) -> Sequence[str]:
        """Return what is executed, and its arguments."""
        bind = ["--bind", f"{LOOPBACK}:{self.port}", *self._arguments]
        return [str(GUNICORN), "-c", "gunicorn.conf.py", *bind, self._app]

    def start(self) -> None:
        """Start the processes; does not wait for them.

        Raises:
            RuntimeError: they run already.
        """
        if self.processes():
            raise RuntimeError("the service runs already")
        if self._process is not None:
            self._process.wait()
        self._home.mkdir(parents=True, exist_ok=True)
        self._process = self.launch(
            self.command(), cwd=self._root, environ=self.environ(), log=self.log_path
        )

    @property
    def pid(self) -> int:
        """The master process.

        Raises:
            RuntimeError: never started.
        """
        if self._process is None:
            raise RuntimeError("the service was not started")
        return self._process.pid

    def wait_ready(self, timeout: float = 50.0) -> None:
        """Block until /readyz answers 200.

        Raises:
            AssertionError: it ended, or did not within `timeout` seconds; with the end of the log.
        """
        try:
            wait_until(self._ready, timeout=timeout, what="/readyz")
        except AssertionError as error:
            raise AssertionError(f"{error}; the log ends:\n{self._tail()}") from error

    def wait_stats(
        self, condition: Callable[[dict[str, Any]], bool], *, timeout: float = 50.0
    ) -> dict[str, Any]:
        """Block until `condition` holds for /stats, and return those.

        Raises:
            AssertionError: it did not within `timeout` seconds; with the last stats.
        """
        seen: dict[str, Any] = {}

        def holds() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                seen.update(self.stats())
                return condition(seen)
            return False

        try:
            wait_until(holds, timeout=timeout, what="/stats")
        except AssertionError as error:
            raise AssertionError(f"{error}; last seen: {seen}") from error
        return seen

    def get(self, path: str, *, timeout: float = 50.0, port: int | None = None) -> Answer:
        """GET on a connection of its own; `port` is the service's, unless it has another one.

        Raises:
            OSError, http.client.HTTPException: there was no whole answer.
        """
        return self._request("GET", path, b"", headers={}, timeout=timeout, port=port)

    def post(
        self,
        path: str,
        body: Any,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 50.0,
    ) -> Answer:
        """POST bytes as they are, anything else as JSON; on a connection of its own.

        Raises:
            OSError, http.client.HTTPException: there was no whole answer.
        """
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        return self._request("POST", path, data, headers=given, timeout=timeout)

    def stats(self) -> dict[str, Any]:
        """Return /stats."""
        stats: dict[str, Any] = self.get("/stats").json()
        return stats

    def terminate(self) -> None:
        """Send the master SIGTERM, as an orchestrator does; does not wait."""
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send the master a signal; none if it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout: float) -> int:
        """Block until the master has ended, and return its exit code (negative: the signal).

        Raises:
            AssertionError: it lives on after `timeout` seconds; with the end of the log.
        """
        if self._process is None:
            raise RuntimeError("the service was not started")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}; the log ends:\n{self._tail()}") from error

    def processes(self) -> list[int]:
        """Return every living process of the service, a dead master's orphans included."""
        if self._process is None:
            return []
        return processes_of(self._process.pid)

    def children(self) -> list[int]:
        """Return the living processes but for the master."""
        return [pid for pid in self.processes() if pid != self.pid]

    def kill_random_child(self, rng: random.Random, *, timeout: float = 50.0) -> int:
        """SIGKILL one process that is not the master, wait for its end, return its pid.

        Raises:
            AssertionError: there was none, or it outlived the signal.
        """
        while children := self.children():
            pid = rng.choice(children)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                await_end(pid, timeout)
                return pid
        raise AssertionError("there is no child to kill")

    def kill_group(self, *, timeout: float = 50.0) -> None:
        """SIGKILL every process at once, as a power cut would; return when all have ended."""
        if self._process is None:
            return
        # A process forked while we looked is in the group too, but not in the list: look again.
        while pids := self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            for pid in pids:
                await_end(pid, timeout)
        self._process.wait(timeout)

    def rss_bytes(self) -> int:
        """Sum the resident memory of all processes; pages they share count once for each."""
        return resident_bytes(self.processes())

    def logs(self) -> Logs:
        """Read the log from its beginning, earlier starts included."""
        return read_logs(self.log_path)

    def _ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError("the service is not running")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/readyz").status == http.client.OK
        return False

    def _request(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        headers: Mapping[str, str],
        timeout: float,
        port: int | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection(LOOPBACK, port or self.port, timeout=timeout)
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def _tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-TAIL_LINES:])
