"""A process's clients of AWS, and their credentials: looked up when needed, and when they fail.

The one place that makes boto3's and botocore's objects. Knows no bucket and no queue.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import botocore.session
from botocore import handlers
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from workers.settings.settings import Settings
from workers.upload.aws_models import read_fast
from workers.upload.s3_errors import meaning, without_password

log = logging.getLogger(__name__)

# Credentials that fail are looked up again at most so often.
LOOK_SECONDS = 5.0
NO_CLIENT = {"s3": "no S3 client yet", "sqs": "no SQS client yet"}

LookUp = Callable[[], Credentials | None]


class RenewedCredentials:
    """What requests are signed with: found by botocore's chain, again whenever that may help.

    botocore looks once: a role, a file or an endpoint that comes later, or changes, is not seen by
    its client (https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html).
    Stands in for botocore's own `Credentials`. Safe to share between threads.
    """

    method = "renewed"

    def __init__(self, look_up: LookUp, *, now: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._now = now
        self._lock = threading.Lock()
        self._found: Credentials | None = None
        self._fault: str | None = None
        self._doubted = False
        self._next_look = -float("inf")
        self._looks = 0
        self._key: str | None = None

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return what to sign with. Blocks while it is looked up, on files and on the network.

        Raises:
            NoCredentialsError, CredentialRetrievalError: there are none now.
        """
        found = self._current()
        try:
            frozen = found.get_frozen_credentials()
        except Exception as error:
            # They have expired, and cannot be refreshed; a new look may find others.
            self._drop(found, error)
            raise _retrieval_error(error) from error
        if frozen.access_key != self._key:
            if self._key is not None or self._looks > 1:
                log.info("credentials changed", extra={"method": found.method})
            self._key = frozen.access_key
        return frozen

    def get_deferred_property(self, name: str) -> Callable[[], str | None]:
        """Return a function for a property of them, which botocore puts into some endpoints."""
        return lambda: getattr(self._found, name, None)

    def doubt(self) -> None:
        """Take note that S3 refused them: the next request looks for others. Does not block."""
        self._doubted = True

    def _current(self) -> Credentials:
        with self._lock:
            if (self._found is None or self._doubted) and self._now() >= self._next_look:
                self._look()
            if self._found is not None:
                return self._found
            if self._fault is not None:
                raise _retrieval_error(self._fault)
            raise NoCredentialsError

    def _look(self) -> None:
        # Those that are refused stay until there are others: it may be the bucket's policy.
        try:
            found, self._fault = self._look_up(), None
        except Exception as error:  # noqa: BLE001 (botocore's chain may fail in any way)
            found, self._fault = None, without_password(str(error))
        self._looks += 1
        self._next_look = self._now() + LOOK_SECONDS
        if found is not None:
            self._found, self._doubted = found, False

    def _drop(self, found: Credentials, error: Exception) -> None:
        with self._lock:
            if self._found is found:
                self._found, self._doubted = None, True
                self._fault = without_password(str(error))


class Connection:
    """One client for all threads. Made in `connect`, or later if that failed then."""

    def __init__(self, make: Callable[[], Any], *, credentials: RenewedCredentials | None) -> None:
        self._make = make
        self._credentials = credentials
        self._lock = threading.Lock()
        self._client: Any = None

    @classmethod
    def of(cls, client: Any) -> "Connection":
        """Return a connection whose client is there already."""
        return cls(lambda: client, credentials=None)

    def client(self) -> Any:
        """Return the client. Blocks while it is made: one at a time, as botocore needs it.

        Raises:
            Exception: any of botocore's; it cannot be made now.
        """
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._make()
        return self._client

    def denied(self) -> None:
        """Take note that S3 refused the credentials. Does not block."""
        if self._credentials is not None:
            self._credentials.doubt()

    def close(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            self._client.close()


def connect(
    settings: Settings,
    *,
    options: Mapping[str, Any],
    service: str = "s3",
    region: str | None = None,
    read_timeout: float | None = None,
) -> Connection:
    """Return a connection to S3, or another service. Call it after the fork; no network.

    `region` and `read_timeout` (seconds) are those of the settings where they are not given.

    What fails here may pass, and must not keep the service from accepting: it is tried again with
    the first request.
    """
    region = region or settings.aws_region
    credentials = RenewedCredentials(lambda: _look_up(region))
    config = Config(
        # Our own retry outlasts an outage; botocore's quota would run dry in one.
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=3,
        read_timeout=read_timeout or settings.s3_read_timeout_seconds,
        max_pool_connections=settings.max_workers + 2,
        tcp_keepalive=True,
        **options,
    )
    connection = Connection(
        lambda: _make_client(service, region, credentials, config), credentials=credentials
    )
    try:
        connection.client()
    except Exception as error:  # noqa: BLE001 (the service accepts without S3)
        log.warning(NO_CLIENT[service], extra={"error": str(meaning(error))})
    return connection


def _look_up(region: str | None) -> Credentials | None:
    """Go through botocore's chain with a new session: an old one keeps the files it has read."""
    session = botocore.session.Session()
    if region:
        session.set_config_variable("region", region)
    found: Credentials | None = session.get_credentials()
    return found


class _Provider:
    """What a session takes credentials from, in place of botocore's chain."""

    def __init__(self, credentials: RenewedCredentials) -> None:
        self._credentials = credentials

    def load_credentials(self) -> RenewedCredentials:
        """Return them; they are looked up when a request needs them."""
        return self._credentials


def _make_client(
    service: str, region: str | None, credentials: RenewedCredentials, config: Config
) -> Any:
    session = botocore.session.Session()
    session.register_component("credential_provider", _Provider(credentials))
    read_fast(session)
    # boto3 itself reads AWS_DEFAULT_REGION; every other AWS SDK reads AWS_REGION.
    made = boto3.session.Session(botocore_session=session, region_name=region)
    client = made.client(service, config=config)
    # A server that ignores `Expect: 100-continue` would cost a second per PUT.
    if service == "s3":
        client.meta.events.unregister("before-call.s3", handlers.add_expect_header)
    return client


def _retrieval_error(why: Exception | str) -> CredentialRetrievalError:
    return CredentialRetrievalError(provider="botocore", error_msg=without_password(str(why)))
