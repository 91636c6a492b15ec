"""A POST of payloads from its head to its response: its way, its key, and what the response gets.

One place for both engines. Knows no server and no pipeline.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest

from app.access import cors
from app.access.cors import Headers
from app.access.credentials import Forbidden, Unauthorized, find_key, known_key, names_key
from app.access.gate import Gate
from app.access.rules import WRITE, Endpoint, Key, Rules, Webhook
from app.http.problems import Problem
from app.http.responses import Answer, fault
from app.ingest.formats.decoding import LINES, media_type_of
from app.ingest.formats.endpoint_format import key_in
from app.ingest.known_key import KnownKeys
from app.ingest.ways import RequestHead, Way, way_of

# A key that is in the body is looked for only in a body of this size, and without an encoding.
MAX_KEYED_BODY = 256 << 10
# The status of payloads that are taken, unless the access file or the client wants another.
ACCEPTED = 202
# A response with one of these statuses has no body (RFC 9110 sections 15.3.5 and 15.3.6): what
# followed would be read as the next response.
NO_CONTENT = (204, 205)
# What a chunked body is taken for by a limit until it is here.
CHUNKED_BYTES = 1 << 16
# Where the envelope of /payloads has its key.
ENVELOPE_KEY = "/token"
# https://fetch.spec.whatwg.org/#cors-safelisted-request-header: a page may send these without a
# preflight, and so without permission.
NO_PREFLIGHT = frozenset({
    "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
})  # fmt: skip
NO_KEY = "A key is needed: in the Authorization header, in X-API-Key, or where the body has one."

KEY_OUT_OF_SIGHT = (
    "A key is needed in a header: in a body it is looked for only without Content-Encoding, "
    "and with a Content-Length of at most 256 KiB."
)


@dataclass(slots=True, kw_only=True)
class Arrival:
    """One POST of payloads. `problem` is the response instead, known before the body is read.

    `key_in_body`: the key, if there is one, is in the body. `expected`: how many bytes of the body
    the key's limits know of.
    """

    way: Way
    head: RequestHead
    gate: Gate | None = None
    key: Key | None = None
    key_in_body: bool = False
    expected: int = 0
    is_charged: bool = False
    problem: Problem | None = None
    cors: Headers = field(default_factory=list)

    @property
    def content_type(self) -> str:
        """The body's media type. Text from a page that may post is JSON, as beacons send it so."""
        found = self.head.header("content-type") or ""
        if len(self.cors) > 1 and found.lower().startswith("text/plain"):
            return "application/json"
        return found

    def check_origin(self) -> None:
        """See that this is from no page of another origin that may not post.

        A preflight keeps such a page from sending JSON, but not text. Which requests are of another
        origin: https://pkg.go.dev/net/http#CrossOriginProtection

        Raises:
            Forbidden: it is.
        """
        header = self.head.header
        origin = header("origin")
        if origin is None or len(self.cors) > 1:
            return
        media_type = media_type_of(header("content-type") or "")
        if media_type not in NO_PREFLIGHT:
            return
        site = header("sec-fetch-site")
        if site is None and origin.partition("://")[2] == header("host"):
            return
        if site not in ("same-origin", "none"):
            raise Forbidden("Pages of this origin may not post here.")

    def body_arrived(self, size: int) -> None:
        """Count the bytes of the body, as they were sent, once; those of a refused one too."""
        if self.key is not None and self.gate is not None and not self.is_charged:
            self.is_charged = True
            self.gate.charge(self.key, size, expected=self.expected)

    def check_body_key(self, body: bytes) -> None:
        """Admit the request by the key in its body, if that is where it is.

        Raises:
            Unauthorized, Forbidden, TooManyRequests: the key is missing, or does not allow this.
        """
        if not self.key_in_body or self.gate is None:
            return
        endpoint = self.way.endpoint
        place = endpoint.key if endpoint is not None and endpoint.key is not None else ENVELOPE_KEY
        key = key_in(body, place)
        if key is None:
            raise Unauthorized(NO_KEY)
        found = known_key(self.gate.rules, [key])
        self.expected = len(body)
        self.key = self.gate.admit_key(
            found, action=WRITE, stream=self.way.stream, size=self.expected
        )
        self.body_arrived(len(body))

    def accepted(self, answer: Answer) -> Answer:
        """Return the response to payloads that are durable, as this way's clients expect it."""
        rule = self.way.rule
        if rule is None or not has_own_answer(rule):
            return answer
        headers = [item for item in answer.headers if item[0] != "Content-Type"]
        if rule.status in NO_CONTENT:
            return Answer(rule.status, headers, b"")
        if rule.body is None:
            return Answer(rule.status, answer.headers, answer.body)
        return Answer(
            rule.status,
            [("Content-Type", content_type_of(rule.body)), *headers],
            rule.body.encode(),
        )

    def finish(self, status: int) -> Headers:
        """Return what a browser needs of a response's headers; count a refusal of a key."""
        if self.key is not None and self.gate is not None and status >= 400:
            self.gate.count_refusal(self.key, status)
        return self.cors


class Entrance:
    """Begins with each POST, by the rules in force. Without a gate everything is open."""

    def __init__(self, gate: Gate | None) -> None:
        self.gate = gate
        self.known = None if gate is None else KnownKeys(gate)

    def arrive(
        self, path: str, head: RequestHead, *, length: int | None, encoded: bool
    ) -> Arrival | None:
        """Return the arrival of a POST to `path`; None where that takes no payloads.

        `length` is the body's, None where it is not known; `encoded`: it has a Content-Encoding.
        """
        if self.gate is None:
            way = way_of(path, None)
            return None if way is None else Arrival(way=way, head=head)
        rules = self.gate.rules
        way = way_of(path, rules)
        if way is None:
            return None
        arrival = Arrival(way=way, head=head, gate=self.gate)
        if way.has_cors and rules.cors is not None:
            origin = head.header("origin")
            arrival.cors = cors.headers(rules.cors, origin=origin, stream=way.stream)
        arrival.expected = CHUNKED_BYTES if length is None else length
        plain = length is not None and length <= MAX_KEYED_BODY and not encoded
        try:
            self._admit(arrival, self.gate, rules, may_be_in_body=plain)
        except Problem as problem:
            arrival.problem = problem.without_frames()
        except Exception as error:  # noqa: BLE001 (the response has headers for browsers, too)
            arrival.problem = fault(error)
        if arrival.problem is None and arrival.key is not None and self.known is not None:
            self.known.remember(path, head, way=way, key=arrival.key, rules=rules)
        return arrival

    def preflight(self, path: str, head: RequestHead) -> Answer | None:
        """Return the response to a browser's question whether it may POST to `path`.

        None where the path is for no route that answers such questions.
        """
        if self.gate is None or head.header("access-control-request-method") is None:
            return None
        rules = self.gate.rules
        way = way_of(path, rules)
        if way is None or not way.has_cors:
            return None
        origin = head.header("origin")
        return Answer(204, cors.preflight(rules.cors, origin=origin, stream=way.stream), b"")

    def _admit(self, arrival: Arrival, gate: Gate, rules: Rules, *, may_be_in_body: bool) -> None:
        way, head = arrival.way, arrival.head
        if way.webhook is not None and way.webhook.scheme != "none":
            # Its signature is the key.
            return
        if _has_body_key(arrival, rules) and not names_key(head.header, head.query):
            if not may_be_in_body:
                raise Unauthorized(KEY_OUT_OF_SIGHT)
            arrival.key_in_body = True
            return
        found = find_key(rules, header=head.header, query=head.query)
        arrival.key = gate.admit_key(found, action=WRITE, stream=way.stream, size=arrival.expected)


def has_own_answer(rule: Webhook | Endpoint | None) -> bool:
    """Whether the access file says how payloads are answered; clients have no choice then."""
    return rule is not None and (rule.status != ACCEPTED or rule.body is not None)


def content_type_of(body: str) -> str:
    """Return the media type of a body that the access file has for a response."""
    return "application/json" if body.startswith(("{", "[")) else "text/plain; charset=utf-8"


def verify_challenge(
    rules: Rules | None, *, source: str, get: Callable[[str], str | None]
) -> Answer:
    """Answer Meta's question whether an endpoint is ours; `get` returns a query's parameter.

    https://developers.facebook.com/docs/graph-api/webhooks/getting-started

    Raises:
        Problem: 404 where the source has no such token, 403 where the token is wrong.
    """
    webhook = rules.webhooks.get(source) if rules else None
    if webhook is None or webhook.verify_token is None:
        raise Problem("There is no such webhook to verify.", status=404)
    token, challenge = get("hub.verify_token") or "", get("hub.challenge") or ""
    if get("hub.mode") != "subscribe" or not compare_digest(
        token.encode(), webhook.verify_token.encode()
    ):
        raise Problem("The verify token is wrong.", status=403)
    return Answer(200, [("Content-Type", "text/plain; charset=utf-8")], challenge[:1024].encode())


def _has_body_key(arrival: Arrival, rules: Rules) -> bool:
    way = arrival.way
    if way.endpoint is not None:
        return way.endpoint.key is not None
    if not rules.envelope_token or way.is_events or way.webhook is not None:
        return False
    # A line has no envelope: it is stored as it is, with what would be the key.
    return media_type_of(arrival.content_type) not in LINES
