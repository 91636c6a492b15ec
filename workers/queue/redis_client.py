"""The connection to Redis or Valkey: the one place that calls redis-py, and reads its errors.

Knows no segment. Methods block on the network, for `ANSWER_SECONDS` at most per attempt.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import TimeoutError as NoAnswer

from workers.errors import QueueUnavailable, QueueUnconfirmed
from workers.queue.redis_connecting import make_client
from workers.settings.queue import RedisUrl

log = logging.getLogger(__name__)

CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 5.0
# What an attempt has at least where the time of a stop is over.
LAST_SECONDS = 0.5
_LUA = Path(__file__).with_name("lua")
Arg = str | bytes | int | float


class RedisServer:
    """One service's keys on a server. Thread-safe; nothing is connected before it is needed.

    `replicas`: how many have to have a write in their append-only file too before it is confirmed.
    An answer may take `answer_seconds`, `ANSWER_SECONDS` unless others are given.
    """

    def __init__(
        self, url: RedisUrl, *, replicas: int = 0, answer_seconds: float | None = None
    ) -> None:
        self.prefix = f"{{{url.name}}}:"
        self.replicas = replicas
        self._url = url
        self._answer_seconds = answer_seconds or ANSWER_SECONDS
        self._lock = threading.Lock()
        self._client: Any = None
        # When the last attempt to connect failed, and why.
        self._failed: tuple[float, RedisError | OSError | None] = 0.0, None
        self._was_reached = False
        self._deadline = float("inf")

    def end_by(self, deadline: float) -> None:
        """At a stop: let scripts from now on wait until then, or `LAST_SECONDS`. Does not block.

        `deadline` is a time of `time.monotonic`.
        """
        self._deadline = deadline
        # Connections that are made from now on have no other time-outs.
        self._client = None

    def apart(self, *, answer_seconds: float) -> "RedisServer":
        """Return the same server with connections of its own, which waits for no other thread."""
        return RedisServer(self._url, replicas=self.replicas, answer_seconds=answer_seconds)

    def script(self, name: str, *arguments: Arg, confirmed: bool = False) -> Any:
        """Run one of the scripts in `lua/` and return its answer.

        `confirmed`: it has to be in the append-only files of the replicas too.

        Raises:
            QueueUnavailable: nothing was done.
            QueueUnconfirmed: it may have been done.
        """
        confirmed = confirmed and self.replicas > 0
        try:
            answer = self._run(name, arguments, confirmed=confirmed)
        except NoScriptError:
            answer = self._run(name, arguments, confirmed=confirmed, load=True)
        return answer

    def call(self, *command: Arg) -> Any:
        """Send one command that changes nothing; return its answer.

        Where the connection is lost it is sent again.

        Raises:
            QueueUnavailable: the server does not answer, or with an error.
        """
        try:
            try:
                return self._ask(command)
            except LostConnection:
                self.forget()
                return self._ask(command)
        except (RedisError, OSError) as error:
            if isinstance(error, (LostConnection, NoAnswer)):
                self.forget()
            raise QueueUnavailable(_explain(error)) from error

    def _ask(self, command: tuple[Arg, ...]) -> Any:
        # A client that nothing holds closes its connections, those in use too.
        client = self._connected()
        connection = client.connection_pool.get_connection()
        try:
            [answer] = _send(connection, [command], **self._timeout())
        finally:
            client.connection_pool.release(connection)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget(self) -> None:
        """Connect anew next time: the server may have moved."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            # What other threads have under way ends by itself.
            client.connection_pool.disconnect(inuse_connections=False)

    def _run(
        self, name: str, arguments: Sequence[Arg], *, confirmed: bool, load: bool = False
    ) -> Any:
        try:
            client = self._connected()
            if load:
                client.execute_command("SCRIPT", "LOAD", source(name))
            # Connected before anything is sent: what fails here was not done.
            connection = client.connection_pool.get_connection()
        except (RedisError, OSError) as error:
            self.forget()
            raise QueueUnavailable(_explain(error)) from error
        # All keys have this one's hash tag: by it a cluster checks that the node is theirs.
        commands: list[tuple[Arg, ...]] = [
            ("EVALSHA", sha_of(name), 1, f"{self.prefix}ledger", self.prefix, *arguments),
            *(self._waits() if confirmed else ()),
        ]
        try:
            answer, *waited = _send(connection, commands, **self._timeout())
        except (LostConnection, NoAnswer, OSError) as error:
            self.forget()
            raise QueueUnconfirmed(_explain(error)) from error
        except RedisError as error:
            raise QueueUnavailable(_explain(error)) from error
        finally:
            client.connection_pool.release(connection)
        return self._checked(answer, waited)

    def _seconds(self, most: float) -> float:
        return min(most, max(LAST_SECONDS, self._deadline - time.monotonic()))

    def _timeout(self) -> dict[str, float]:
        """Return how long an answer may take where that is not the connection's own time-out."""
        is_stopping = self._deadline != float("inf")
        return {"timeout": self._seconds(self._answer_seconds)} if is_stopping else {}

    def _checked(self, answer: Any, waited: list[Any]) -> Any:
        if isinstance(answer, NoScriptError):
            raise answer
        if isinstance(answer, (LostConnection, NoAnswer)):
            raise QueueUnconfirmed(_explain(answer)) from answer
        if isinstance(answer, Exception):
            # A script that is refused has written nothing: its first write is what is refused.
            self.forget()
            raise QueueUnavailable(_explain(answer)) from answer
        if waited:
            self._check_replicas(waited[-1])
        return answer

    def _waits(self) -> list[tuple[Arg, ...]]:
        milliseconds = int(ANSWER_SECONDS * 1000 * 0.4)
        waits: list[tuple[Arg, ...]] = [("WAIT", self.replicas, milliseconds)]
        if self._knows_waitaof:
            # By itself it takes a second: a replica that is asked at once answers before it has
            # synced, and then with its next report. Behind a WAIT it is asked a second time.
            waits.append(("WAITAOF", 1, self.replicas, milliseconds))
        return waits

    def _check_replicas(self, found: Any) -> None:
        """See that enough have it: on a time-out the answer is a lower count, and no error."""
        if isinstance(found, Exception):
            raise QueueUnconfirmed(_explain(found)) from found
        local, replicas = found if isinstance(found, list) else (1, found)
        if local < 1 or replicas < self.replicas:
            raise QueueUnconfirmed(
                f"{replicas} of {self.replicas} replicas have confirmed it in time"
            )

    def _connected(self) -> Any:
        asked_at = time.monotonic()
        with self._lock:
            if self._client is None:
                failed_at, failure = self._failed
                if failure is not None and failed_at >= asked_at:
                    # Of those that wait for a server that hangs each would take its time in turn.
                    raise failure.with_traceback(None)
                try:
                    self._client = self._connect()
                except (RedisError, OSError) as error:
                    self._failed = time.monotonic(), error
                    raise
            return self._client

    def _connect(self) -> Any:
        try:
            client = make_client(
                self._url,
                prefix=self.prefix,
                connect_seconds=self._seconds(CONNECT_SECONDS),
                answer_seconds=self._seconds(self._answer_seconds),
            )
            version = client.info("server").get("redis_version", "0")
        except (LostConnection, NoAnswer) as error:
            raise self._first_failure(error) from error.__context__
        self._was_reached = True
        self._knows_waitaof = _version(version) >= (7, 2)
        # Answers as they come: redis-py would make other types of some.
        client.response_callbacks.clear()
        return client

    def _first_failure(self, error: RedisError) -> RedisError:
        """Name the scheme of `QUEUE_URL` where it may be why a server was never reached."""
        if self._was_reached or type(error) not in (LostConnection, NoAnswer):
            return error
        if self._url.tls and isinstance(error, NoAnswer):
            return NoAnswer(f"{error} (if it has no TLS, QUEUE_URL begins with redis://)")
        is_cut = isinstance(error.__context__, ConnectionResetError) or "closed" in str(error)
        if is_cut and not self._url.tls:
            return LostConnection(f"{error} (if it expects TLS, QUEUE_URL begins with rediss://)")
        return error


@cache
def source(name: str) -> str:
    """Return the text of a script, with what all begin with."""
    return (_LUA / "common.lua").read_text() + (_LUA / f"{name}.lua").read_text()


@cache
def sha_of(name: str) -> str:
    """Return the SHA-1 by which servers know a script: the command's protocol, not a safeguard."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()


def pairs(answer: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return the pairs of a flat list, which is how mappings are answered."""
    return list(zip(answer[::2], answer[1::2], strict=True))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in str(text).split(".") if part.isdecimal())


def _send(connection: Any, commands: list[tuple[Arg, ...]], **timeout: float) -> list[Any]:
    """Send commands at once, and return an answer to each, errors of the server among them.

    A pipeline of redis-py does the same for twice the CPU.
    """
    answers: list[Any] = []
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        for _ in commands:
            try:
                answers.append(connection.read_response(**timeout))
            except ResponseError as error:
                answers.append(error)
    except BaseException:
        # An answer that is not read must not be taken for that of the next command.
        connection.disconnect()
        raise
    return answers


def _explain(error: Exception) -> str:
    if isinstance(error, OutOfMemoryError):
        return "the Redis server has reached its maxmemory"
    if isinstance(error, AuthenticationError):
        return f"the Redis server refuses the user and password of QUEUE_URL: {error}"
    if isinstance(error.__context__, SSLCertVerificationError):
        return f"the Redis server's certificate is not trusted (ssl_ca_certs of QUEUE_URL): {error}"
    if isinstance(error, (LostConnection, NoAnswer, OSError)):
        return f"the Redis server does not answer: {str(error).rstrip('.')}"
    if isinstance(error, ResponseError):
        return f"the Redis server refuses it: {str(error)[:200]}"
    return f"{type(error).__name__}: {str(error)[:200]}"
