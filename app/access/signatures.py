"""Verifies webhook signatures: all of them cover the raw body. Knows no file and no HTTP server.

Each scheme is the sender's own, see:
    github    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    standard  https://github.com/standard-webhooks/standard-webhooks (specification)
    stripe    https://docs.stripe.com/webhooks#verify-manually
    slack     https://docs.slack.dev/authentication/verifying-requests-from-slack
    shopify   https://shopify.dev/docs/apps/build/webhooks/subscribe/https
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from app.access.rules import HmacOptions, Webhook

# A captured request could be replayed for as long as its timestamp is accepted.
TOLERANCE_SECONDS = 300
# A header with more signatures, or a longer one, is refused without a look at it.
MAX_HEADER, MAX_SIGNATURES = 4096, 16


class BadSignature(Exception):
    """The request is not signed by a secret of the source; the text says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a verified request says of itself: its id and type, where the sender names them."""

    id: str | None
    type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A request to verify. Header names are in lower case; `now` is seconds since 1970."""

    headers: Mapping[str, str]
    body: bytes
    now: float

    def header(self, name: str) -> str:
        """Return a header that must be there.

        Raises:
            BadSignature: it is missing, or too long to be one of the scheme's.
        """
        value = self.headers.get(name.lower())
        if value is None:
            raise BadSignature(f"The header {name} is missing.")
        if len(value) > MAX_HEADER:
            raise BadSignature(f"The header {name} is too long.")
        return value

    def fresh(self, timestamp: str) -> str:
        """Return `timestamp` (seconds since 1970) if it is of about now.

        Raises:
            BadSignature: it is not a number, or off by more than `TOLERANCE_SECONDS`.
        """
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 16):
            raise BadSignature("The signature's timestamp is not a number of seconds.")
        if abs(self.now - int(timestamp)) > TOLERANCE_SECONDS:
            raise BadSignature(
                f"The signature's timestamp is off by more than {TOLERANCE_SECONDS} s."
            )
        return timestamp


Verify = Callable[[Signed, Webhook], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How one kind of sender signs, and where it names a delivery."""

    verify: Verify
    id_header: str | None = None
    type_header: str | None = None
    # The body's member that names a delivery, where no header does.
    id_member: str | None = None
    # Turns a configured secret into the key of the HMAC; raises ValueError where it is none.
    secret: Callable[[str], bytes] = str.encode


def verify(request: Signed, webhook: Webhook) -> Delivery:
    """Verify a request's signature; does not block. A source without a scheme has none to verify.

    Raises:
        BadSignature: it is missing, wrong or too old.
    """
    scheme = SCHEMES.get(webhook.scheme)
    if scheme is None:
        return Delivery(id=None, type=None)
    scheme.verify(request, webhook)
    options = webhook.options
    id_header = options.id_header if options else scheme.id_header
    type_header = options.type_header if options else scheme.type_header
    return Delivery(
        id=_ascii(request.headers.get(id_header.lower())) if id_header else None,
        type=request.headers.get(type_header.lower()) if type_header else None,
    )


def _ascii(value: str | None) -> str | None:
    """Return what can be read of a header's value on every server: only ASCII."""
    return value if value is not None and value.isascii() else None


def _check(
    request: Iterable[bytes], webhook: Webhook, signatures: Iterable[bytes], *, algorithm: str
) -> None:
    """Compare, in constant time, every signature given with one by each of the secrets."""
    parts = list(request)
    given = list(signatures)
    if len(given) > MAX_SIGNATURES:
        raise BadSignature("There are too many signatures.")
    matched = False
    for secret in webhook.secrets:
        mac = hmac.new(secret, digestmod=algorithm)
        for part in parts:
            mac.update(part)
        expected = mac.digest()
        for signature in given:
            matched |= hmac.compare_digest(expected, signature)
    if not matched:
        raise BadSignature("The signature does not match.")


def _unhex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError) as error:
        raise BadSignature("The signature is not hexadecimal.") from error


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSignature("The signature is not base64.") from error


def _after(value: str, prefix: str) -> str:
    if not value.startswith(prefix):
        raise BadSignature(f"The signature does not begin with {prefix}")
    return value.removeprefix(prefix)


def _github(request: Signed, webhook: Webhook) -> None:
    signature = _after(request.header("X-Hub-Signature-256"), "sha256=")
    _check([request.body], webhook, [_unhex(signature)], algorithm="sha256")


def _standard(request: Signed, webhook: Webhook) -> None:
    identity = request.header("webhook-id")
    timestamp = request.fresh(request.header("webhook-timestamp"))
    versions = [part.partition(",") for part in request.header("webhook-signature").split()]
    # `v1a` is ed25519, of which the public key would be needed.
    signatures = [_unbase64(value) for version, _, value in versions if version == "v1"]
    signed = [identity.encode(), b".", timestamp.encode(), b".", request.body]
    _check(signed, webhook, signatures, algorithm="sha256")


def _standard_secret(value: str) -> bytes:
    try:
        secret = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except ValueError as error:
        raise ValueError("Must be base64, after `whsec_`.") from error
    if not secret:
        raise ValueError("Is empty: anyone could sign with it.")
    return secret


def _stripe(request: Signed, webhook: Webhook) -> None:
    items = [item.strip().partition("=") for item in request.header("Stripe-Signature").split(",")]
    timestamp = next((value for name, _, value in items if name == "t"), "")
    signatures = [_unhex(value) for name, _, value in items if name == "v1"]
    signed = [request.fresh(timestamp).encode(), b".", request.body]
    _check(signed, webhook, signatures, algorithm="sha256")


def _slack(request: Signed, webhook: Webhook) -> None:
    timestamp = request.fresh(request.header("X-Slack-Request-Timestamp"))
    signature = _after(request.header("X-Slack-Signature"), "v0=")
    signed = [b"v0:", timestamp.encode(), b":", request.body]
    _check(signed, webhook, [_unhex(signature)], algorithm="sha256")


def _shopify(request: Signed, webhook: Webhook) -> None:
    signature = _unbase64(request.header("X-Shopify-Hmac-Sha256"))
    _check([request.body], webhook, [signature], algorithm="sha256")


def _hmac(request: Signed, webhook: Webhook) -> None:
    options = webhook.options
    assert options is not None
    signature = _after(request.header(options.header), options.prefix)
    decode = _unhex if options.encoding == "hex" else _unbase64
    signed = list(_fill(options, request))
    _check(signed, webhook, [decode(signature)], algorithm=options.algorithm)


def _fill(options: HmacOptions, request: Signed) -> Iterable[bytes]:
    """Yield what is signed, part by part, so that the body is not copied."""
    values = {"body": request.body}
    if options.timestamp_header:
        timestamp = request.fresh(request.header(options.timestamp_header))
        values["timestamp"] = timestamp.encode()
    if options.id_header and "{id}" in options.template:
        values["id"] = request.header(options.id_header).encode()
    # Split at the braces, every second part is a field.
    for index, part in enumerate(re.split(r"[{}]", options.template)):
        yield values[part] if index % 2 else part.encode()


SCHEMES: Mapping[str, Scheme] = {
    "github": Scheme(verify=_github, id_header="X-GitHub-Delivery", type_header="X-GitHub-Event"),
    "standard": Scheme(verify=_standard, id_header="webhook-id", secret=_standard_secret),
    "stripe": Scheme(verify=_stripe, id_member="id"),
    # Slash commands and interactions have none; Slack does not send them again.
    "slack": Scheme(verify=_slack, id_member="event_id"),
    "shopify": Scheme(
        verify=_shopify, id_header="X-Shopify-Webhook-Id", type_header="X-Shopify-Topic"
    ),
    "hmac": Scheme(verify=_hmac),
}
