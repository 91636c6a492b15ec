"""Webhook signatures: each scheme's published example, and what must not pass."""

import base64
import hashlib
import hmac
from typing import Any

import pytest

from app.access.rules import HmacOptions, Webhook
from app.access.signatures import SCHEMES, BadSignature, Delivery, Signed, verify

NOW = 1_614_265_330.0


def webhook(scheme: str, *secrets: str, options: HmacOptions | None = None) -> Webhook:
    """Return a source whose secrets are as they stand in an access file."""
    keys = tuple(SCHEMES[scheme].secret(secret) for secret in secrets)
    return Webhook(source="s", scheme=scheme, secrets=keys, stream="s", options=options)


def signed(body: bytes, /, now: float = NOW, **headers: str) -> Signed:
    """Return a request; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Signed(headers=named, body=body, now=now)


def test_github_s_own_example() -> None:
    """The example of GitHub's documentation passes, with its delivery's id and type."""
    request = signed(
        b"Hello, World!",
        X_Hub_Signature_256="sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        X_GitHub_Delivery="72d3162e",
        X_GitHub_Event="push",
    )
    found = verify(request, webhook("github", "It's a Secret to Everybody"))
    assert found == Delivery(id="72d3162e", type="push")


def test_the_standard_s_own_example() -> None:
    """The example of standardwebhooks.com passes, beside a signature by another secret."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    request = signed(
        b'{"test": 2432232314}',
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        webhook_timestamp="1614265330",
        webhook_signature="v1a,bm90IG91cnM= v1,b3RoZXI= "
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    )
    assert verify(request, webhook("standard", secret)).id == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_slack_s_own_example() -> None:
    """The example of Slack's documentation passes."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id="
        b"G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-"
        b"collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F39770"
        b"0885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d"
        b"2c447fce8b6703c"
    )
    request = signed(
        body,
        now=1_531_420_618,
        X_Slack_Request_Timestamp="1531420618",
        X_Slack_Signature="v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    )
    verify(request, webhook("slack", "8f742231b10e8888abcd99yyyzzz85a5"))


def test_stripe_takes_any_of_its_signatures() -> None:
    """While a secret is replaced, Stripe sends a signature by each."""
    mac = hmac.new(b"whsec_new", b"1614265330.{}", "sha256").hexdigest()
    request = signed(b"{}", Stripe_Signature=f"t=1614265330,v1={'0' * 64},v1={mac},v0=ff")
    verify(request, webhook("stripe", "whsec_old", "whsec_new"))


def test_shopify_signs_in_base64() -> None:
    """Shopify's signature is base64 of the body's HMAC; its id and topic are kept."""
    mac = base64.b64encode(hmac.digest(b"shh", b"{}", "sha256")).decode()
    request = signed(
        b"{}",
        X_Shopify_Hmac_Sha256=mac,
        X_Shopify_Webhook_Id="b54557e4",
        X_Shopify_Topic="orders/create",
    )
    assert verify(request, webhook("shopify", "shh")) == Delivery(
        id="b54557e4", type="orders/create"
    )


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_the_generic_scheme_signs_its_template(algorithm: str, encoding: str) -> None:
    """Literal text, fields and their order are as the template says, a literal `body` included."""
    options = HmacOptions(
        header="X-Sig",
        prefix="sig:",
        algorithm=algorithm,
        encoding=encoding,
        id_header="X-Id",
        timestamp_header="X-Time",
        template="body:{id}/{timestamp}.{body}",
    )
    mac = hmac.new(b"key", b"body:7/1614265330.{}", algorithm).digest()
    text = mac.hex() if encoding == "hex" else base64.b64encode(mac).decode()
    request = signed(b"{}", X_Sig="sig:" + text, X_Id="7", X_Time="1614265330")
    source = webhook("hmac", "key", options=options)
    assert verify(request, source).id == "7"
    with pytest.raises(BadSignature, match="does not match"):
        verify(signed(b"{} ", X_Sig="sig:" + text, X_Id="7", X_Time="1614265330"), source)


@pytest.mark.parametrize("seconds", [-301, 301])
@pytest.mark.parametrize("scheme", ["standard", "stripe", "slack"])
def test_a_captured_request_does_not_replay(scheme: str, seconds: int) -> None:
    """A timestamp that is off by more than five minutes, either way, is refused."""
    mac = hashlib.sha256().hexdigest()
    request = signed(
        b"{}",
        now=NOW + seconds,
        webhook_id="1",
        webhook_timestamp="1614265330",
        webhook_signature="v1,AAAA",
        Stripe_Signature=f"t=1614265330,v1={mac}",
        X_Slack_Request_Timestamp="1614265330",
        X_Slack_Signature=f"v0={mac}",
    )
    with pytest.raises(BadSignature, match="off by more than 300 s"):
        verify(request, webhook(scheme, "c2VjcmV0"))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "is missing"),
        ("sha256=" + "0" * 64, "does not match"),
        ("757107ea", "does not begin with sha256="),
        ("sha256=zz", "not hexadecimal"),
        ("sha256=é", "not hexadecimal"),
        ("sha256=" + "0" * (1 << 20), "too long"),
    ],
)
def test_what_is_no_signature_is_refused(value: str | None, why: str) -> None:
    """Missing, wrong, damaged and oversized signatures are refused, each for its reason."""
    headers: dict[str, Any] = {} if value is None else {"X_Hub_Signature_256": value}
    with pytest.raises(BadSignature, match=why):
        verify(signed(b"Hello", **headers), webhook("github", "secret"))


def test_many_signatures_cost_no_work() -> None:
    """A header full of signatures is refused before any is compared."""
    request = signed(
        b"{}",
        webhook_id="1",
        webhook_timestamp="1614265330",
        webhook_signature=" ".join(["v1,AAAA"] * 17),
    )
    with pytest.raises(BadSignature, match="too many"):
        verify(request, webhook("standard", "c2VjcmV0"))
