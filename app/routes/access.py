"""Who may use the routes beside those that take payloads; preflights; the access file's paths."""

from flask import Flask, Response, g, request

from app.access.credentials import Unauthorized
from app.access.rules import ADMIN, READ, WRITE
from app.openapi.document import PATH as DOCUMENT
from app.probes import HEALTH, READINESS
from app.routes.console import blueprint as console
from app.routes.every_request import FlaskHead, as_flask
from app.routes.payloads import accept
from app.state import state

OPEN = frozenset({HEALTH, READINESS})
# These look at the key themselves: it may be a signature, or in the body.
_CHECKED = frozenset({("POST", "payloads.accept"), ("GET", "payloads.verify")})
CONSOLE = console.name
# By this a browser asks its user for the key (RFC 7617).
BROWSER = 'Basic realm="Bucket Brigade: a key as password", charset="UTF-8"'
_TAKING = ("/payloads", "/events", "/webhooks")


def register_access(app: Flask, *, takes_payloads: bool) -> None:
    """Have every request looked at before its route, where there is an access file."""

    @app.before_request
    def admit() -> Response | None:
        entrance = state().entrance
        gate = entrance.gate
        if gate is None or request.path in OPEN:
            return None
        head = FlaskHead(request)
        if request.method == "OPTIONS":
            answer = entrance.preflight(request.path, head)
            if answer is not None:
                return as_flask(answer)
        if takes_payloads and request.method == "POST" and request.path in gate.rules.endpoints:
            return accept()
        if _has_its_own_check():
            return None
        action = _action(request.path)
        try:
            g.key = gate.admit(action=action, stream=None, header=head.header, query=head.query)
        except Unauthorized as refusal:
            if request.blueprint == CONSOLE:
                refusal.headers["WWW-Authenticate"] = BROWSER
            raise
        return None


def _has_its_own_check() -> bool:
    return (request.method, request.endpoint) in _CHECKED


def _action(path: str) -> str:
    if path.startswith(_TAKING):
        return WRITE
    return READ if path.startswith("/receipts/") or path == DOCUMENT else ADMIN
