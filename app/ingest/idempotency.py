"""The `Idempotency-Key` header, and a webhook's delivery id in its place: read, and claimed.

draft-ietf-httpapi-idempotency-key-header-07: the header is a string (RFC 9651); a bare one is taken
too, as most clients send it. Knows no HTTP layer.
"""

import re
from hashlib import sha256
from typing import Final

from app.http.problems import BadRequest, Unavailable
from app.ingest.formats.collection import Collection
from app.ingest.refusals import problem_of
from workers.errors import Refusal, SpoolError
from workers.keys.claim import Claim, KeyStore, Replay
from workers.keys.records import digest_of

HEADER: Final = "idempotency-key"
REPLAYED: Final = ("Idempotent-Replayed", "true")
MAX_KEY: Final = 255
RETRY_SECONDS: Final = 1
_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]+|\\["\\])*)"')
_ESCAPED: Final = re.compile(r"\\(.)")
# Visible characters but for those that separate values, or begin a string: most keys, bare or not.
_SIMPLE: Final = re.compile(rf'("?)([!#-+\--:<-\[\]-~]{{1,{MAX_KEY}}})\1')


def read_key(header: str) -> str:
    """Return the key in a header's value, of several all as one list.

    Raises:
        BadRequest: there is none, or more than one.
    """
    value = header.strip(" \t")
    if (simple := _SIMPLE.fullmatch(value)) is not None:
        return simple[2]
    found = _STRING.fullmatch(value) if len(value) <= 2 * MAX_KEY + 2 else None
    value = found[1] if found else ""
    if "\\" in value:
        value = _ESCAPED.sub(r"\1", value)
    if not 1 <= len(value) <= MAX_KEY:
        raise BadRequest(
            f"The Idempotency-Key must be one key of 1 to {MAX_KEY} visible ASCII characters; with "
            'spaces, commas or semicolons in double quotes: "8e03978e-40d5-43dd-bc93-6894a57f9324".'
        )
    return value


class Replayed(Exception):
    """The request is accepted already: the same answer again."""

    def __init__(self, replay: Replay) -> None:
        super().__init__("replayed")
        self.replay = replay


class IdempotentRequest:
    """One request with a key, until its collection is handed over. One thread at a time has it.

    `caller` is the name of its access key, or nothing; `claim` is on its idempotency key.
    """

    __slots__ = ("_key", "_keys", "_stream", "caller", "claim")

    def __init__(
        self, keys: KeyStore | None, *, caller: str, stream: str, header: str | None
    ) -> None:
        """Read the header, if there is one.

        Raises:
            BadRequest: it is wrong, or this service takes none.
        """
        self._key = None if header is None else read_key(header)
        if keys is None and header is not None:
            raise BadRequest("An Idempotency-Key is not taken with this DURABILITY.")
        self._keys = keys
        self.caller = caller
        self._stream = stream
        self.claim: Claim | None = None

    @property
    def is_remote(self) -> bool:
        """Whether a claim waits for the network."""
        return self._keys is not None and self._keys.is_remote

    def begin(self, body: bytes) -> None:
        """Claim the key for a decoded body, unless it is claimed already.

        Raises:
            Replayed: it is accepted already.
            Problem: the response instead: the key is in use, or was used with another body.
        """
        if self._key is not None and self.claim is None:
            self._begin(digest_of("key", self.caller, self._stream, self._key), body, compare=True)

    def begin_delivery(self, collection: Collection, body: bytes, *, source: str) -> None:
        """Claim a webhook's delivery, whose body is not compared; without an id the header's key.

        Raises:
            Replayed, Problem: as `begin`.
        """
        if collection.delivery is None:
            self.caller = f"webhooks/{source}"
            self.begin(body)
        elif self._keys is not None:
            self._begin(digest_of("delivery", source, collection.delivery), body, compare=False)

    def hand_over(self) -> None:
        """Take note that the claim is its collection's future's from now on."""
        self.claim = None

    def release(self) -> None:
        """Give up the claim, if it is still here."""
        claim, self.claim = self.claim, None
        if claim is not None:
            claim.release()

    def _begin(self, digest: bytes, body: bytes, *, compare: bool) -> None:
        assert self._keys is not None
        try:
            found = self._keys.claim(digest, sha256(body).digest(), compare=compare)
        except Refusal as refusal:
            raise problem_of(refusal, retry_after=lambda: RETRY_SECONDS) from refusal
        except (OSError, SpoolError) as error:
            raise Unavailable(f"Not accepted: {error}.", retry_after=RETRY_SECONDS) from error
        if isinstance(found, Replay):
            raise Replayed(found)
        self.claim = found
