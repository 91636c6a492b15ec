"""Credentials that come later, change or fail; a client that cannot be made at once."""

import os
from collections import deque
from typing import Any

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError, ProfileNotFound
from botocore.session import Session

from workers.errors import StoreUnavailable
from workers.upload.aws_models import SERVICES, read_fast
from workers.upload.s3 import Bucket
from workers.upload.s3_client import LOOK_SECONDS, Connection, RenewedCredentials

LISTDIR = os.listdir
# Otherwise a session asks the network.
KEYS = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}


class Chain:
    """botocore's chain with a script: credentials, None for none, or what it raises; and a clock.

    The last entry stays.
    """

    def __init__(self, *script: Any) -> None:
        self._script = deque(script)
        self.looks = 0
        self.time = 0.0

    def look_up(self) -> Any:
        """Go on in the script."""
        self.looks += 1
        found = self._script.popleft() if len(self._script) > 1 else self._script[0]
        if isinstance(found, Exception):
            raise found
        return found

    def now(self) -> float:
        """Tell the time."""
        return self.time

    def renewed(self) -> RenewedCredentials:
        """Make the credentials that look here."""
        return RenewedCredentials(self.look_up, now=self.now)


class Expiring:
    """Credentials that work until they have expired and cannot be refreshed."""

    method = "expiring"
    expired = False

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return them, or fail as botocore does."""
        if self.expired:
            raise RuntimeError("Credentials were refreshed, but are still expired.")
        return ReadOnlyCredentials("expiring", "s", None)


def keys(name: str) -> Credentials:
    """Make credentials."""
    return Credentials(name, "s")


def key(credentials: RenewedCredentials) -> Any:
    """Return the access key that a request would be signed with now."""
    return credentials.get_frozen_credentials().access_key


def test_those_that_are_good_are_looked_up_once() -> None:
    """A thousand requests, and much time, cost one look."""
    chain = Chain(keys("a"))
    credentials = chain.renewed()
    assert chain.looks == 0
    for _ in range(10):
        assert key(credentials) == "a"
        chain.time += LOOK_SECONDS
    assert chain.looks == 1


@pytest.mark.parametrize("first", [None, OSError("the credentials endpoint answers 500")])
def test_those_that_come_later_are_found(first: Exception | None) -> None:
    """Without any at first each request fails; those that come are found, without a restart."""
    chain = Chain(first, keys("a"))
    credentials = chain.renewed()
    for _ in range(3):
        with pytest.raises((NoCredentialsError, CredentialRetrievalError)):
            key(credentials)
    assert chain.looks == 1
    chain.time += LOOK_SECONDS
    assert key(credentials) == "a"
    assert chain.looks == 2


def test_the_reason_why_there_are_none_is_kept() -> None:
    """Requests between two looks fail with the words of the last one, and with no password."""
    chain = Chain(OSError("http://u:hunter2@endpoint answers 500"))
    credentials = chain.renewed()
    for _ in range(2):
        with pytest.raises(CredentialRetrievalError, match="endpoint answers 500") as caught:
            key(credentials)
        assert "hunter2" not in str(caught.value)


def test_those_that_are_refused_are_looked_up_again() -> None:
    """A file that was rotated is read again once S3 refuses what it held, but not at each 403."""
    chain = Chain(keys("old"), keys("new"))
    credentials = chain.renewed()
    assert key(credentials) == "old"
    for _ in range(3):
        credentials.doubt()
        assert key(credentials) == "old"
    assert chain.looks == 1
    chain.time += LOOK_SECONDS
    assert key(credentials) == "new"
    chain.time += LOOK_SECONDS
    assert key(credentials) == "new"
    assert chain.looks == 2


@pytest.mark.parametrize("gone", [None, ProfileNotFound(profile="p")])
def test_those_that_are_refused_stay_until_there_are_others(gone: Exception | None) -> None:
    """A refusal may be the bucket's policy: what works for other objects is not thrown away."""
    chain = Chain(keys("a"), gone, gone, keys("b"))
    credentials = chain.renewed()
    assert key(credentials) == "a"
    credentials.doubt()
    for _ in range(2):
        chain.time += LOOK_SECONDS
        assert key(credentials) == "a"
    chain.time += LOOK_SECONDS
    assert key(credentials) == "b"


def test_those_that_expire_are_looked_up_again() -> None:
    """Where a refresh fails the chain is asked anew: the role, or its file, may be another now."""
    expiring = Expiring()
    chain = Chain(expiring, keys("new"))
    credentials = chain.renewed()
    assert key(credentials) == "expiring"
    expiring.expired = True
    with pytest.raises(CredentialRetrievalError, match="still expired"):
        key(credentials)
    chain.time += LOOK_SECONDS
    assert key(credentials) == "new"


def test_a_client_that_cannot_be_made_is_made_later() -> None:
    """A profile that is gone for a while is a PUT that fails, as any other that may pass."""

    class Client:
        def delete_object(self, **_: Any) -> None:
            return None

    made: list[Any] = [ProfileNotFound(profile="p"), Client()]

    def make() -> Any:
        found = made.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    bucket = Bucket(Connection(make, credentials=None))
    with pytest.raises(StoreUnavailable, match="profile") as caught:
        bucket.delete("b", "k")
    assert caught.value.reason == "denied"
    bucket.delete("b", "k")
    bucket.delete("b", "k")
    assert made == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_client_knows_what_botocore_s_own_knows(service: str) -> None:
    """Both ways to read the descriptions give the same methods, versions and endpoints."""
    ours, theirs = Session(), Session()
    read_fast(ours)
    made, own = (each.create_client(service, "eu-west-1", **KEYS) for each in (ours, theirs))
    assert made.meta.method_to_api_mapping == own.meta.method_to_api_mapping
    assert made.meta.service_model.metadata == own.meta.service_model.metadata
    assert made.meta.endpoint_url == own.meta.endpoint_url
    made.close()
    own.close()


def test_a_client_looks_for_no_other_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directories of them all would be listed at each start of a process."""
    listed: list[str] = []

    def listdir(path: str = ".") -> list[str]:
        listed.append(path)
        return LISTDIR(path)

    monkeypatch.setattr(os, "listdir", listdir)
    session = Session()
    read_fast(session)
    session.create_client("s3", "eu-west-1", **KEYS).close()
    assert 0 < len(listed) < 20
