"""Reads `ACCESS_FILE` (TOML): every mistake in it is found at once and named with its place."""

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError

from app.access.file_schemas import (
    AccessSchema,
    CorsSchema,
    EndpointSchema,
    KeySchema,
    WebhookSchema,
)
from app.access.rules import (
    Cors,
    Endpoint,
    HmacOptions,
    Key,
    Rules,
    StreamPatterns,
    Webhook,
)
from app.access.signatures import SCHEMES, Scheme
from workers.errors import SettingsError
from workers.segments.naming import STREAM

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_EMPTY = hashlib.sha256().digest()
OWN_PATHS = ("/payloads", "/events", "/webhooks", "/receipts", "/healthz", "/readyz", "/stats",
             "/metrics", "/console", "/openapi.json")  # fmt: skip
# Clients and proxies take the segments `.` and `..` out of a path before they send it.
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+/?")
MAX_PATH = 256
# The file is read while requests wait: more would hold them for seconds at each change.
MAX_BYTES, MAX_KEYS = 1 << 20, 1000
MAX_MISTAKES = 100
Secret = Callable[[str], str]


class _Mistakes:
    """Collects what is wrong, with the place of each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def load(self, schema: Schema, data: Any, *, place: str) -> tuple[dict[str, Any], bool]:
        """Return what is valid of a table, and whether that is all of it."""
        if not isinstance(data, dict):
            self.add(place, "Must be a table.")
            return {}, False
        try:
            return schema.load(data), True
        except ValidationError as error:
            self._add_tree(place, error.messages)
            found = error.valid_data
            return found if isinstance(found, dict) else {}, False

    def add(self, place: str, text: str) -> None:
        if len(self.lines) < MAX_MISTAKES:
            self.lines.append(f"  {place}: {text}")

    def _add_tree(self, place: str, found: Any) -> None:
        if isinstance(found, Mapping):
            for name, inner in found.items():
                self._add_tree(place if name == "_schema" else f"{place}.{name}", inner)
        else:
            self.add(place, " ".join(found))


def load_rules(path: Path, *, secret: Secret) -> Rules:
    """Read and check an access file; blocks on the disk. `secret` resolves `env:` and `file:`.

    Raises:
        SettingsError: all mistakes at once, a line each. It holds no secret.
    """
    document = _read(path)
    mistakes = _Mistakes()
    if not document:
        # So it looks for a moment where it is not replaced in one step, but written over.
        mistakes.add("the file", "There is nothing in it.")
    known = {"access", "keys", "cors", "webhooks", "endpoints"}
    for name in sorted(document.keys() - known):
        mistakes.add(name, f"Unknown table; there are {', '.join(sorted(known))}.")
    access, _ = mistakes.load(AccessSchema(), document.get("access", {}), place="access")
    rules = Rules(
        keys=_keys(document.get("keys", {}), mistakes),
        envelope_token=access.get("envelope_token", False),
        cors=_cors(document.get("cors"), mistakes),
        webhooks=_webhooks(document.get("webhooks", {}), mistakes, secret=secret),
        endpoints=_endpoints(document.get("endpoints", {}), mistakes),
    )
    if mistakes.lines:
        raise SettingsError("\n".join([f"ACCESS_FILE {path} is wrong:", *mistakes.lines]))
    return rules


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode()
    except (OSError, ValueError) as error:
        raise SettingsError(f"ACCESS_FILE {path} cannot be read: {error}") from error
    if len(data) > MAX_BYTES:
        raise SettingsError(f"ACCESS_FILE {path} is larger than {MAX_BYTES} bytes.")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        # Beside tomllib's own, an integer with thousands of digits.
        raise SettingsError(f"ACCESS_FILE {path} is not TOML: {error}") from error
    except RecursionError:
        raise SettingsError(f"ACCESS_FILE {path} is nested too deeply.") from None


def _tables(data: Any, mistakes: _Mistakes, *, place: str) -> dict[str, Any]:
    if isinstance(data, dict):
        return data
    mistakes.add(place, "Must be a table of tables.")
    return {}


def _keys(data: Any, mistakes: _Mistakes) -> dict[bytes, Key]:
    keys: dict[bytes, Key] = {}
    names: dict[bytes, str] = {}
    tables = _tables(data, mistakes, place="keys")
    if len(tables) > MAX_KEYS:
        mistakes.add("keys", f"There may be {MAX_KEYS} keys; here are {len(tables)}.")
        return keys
    for name, table in tables.items():
        place = f"keys.{name}"
        if not NAME.fullmatch(name):
            mistakes.add(place, "A key's name is 1 to 64 of A-Z a-z 0-9 _ -.")
        found, is_whole = mistakes.load(KeySchema(), table, place=place)
        digests = [bytes.fromhex(digest) for digest in found.pop("sha256", ())]
        for digest in digests:
            if digest == _EMPTY:
                mistakes.add(f"{place}.sha256", "Is the digest of an empty key.")
            if digest in names:
                mistakes.add(f"{place}.sha256", f"The same digest as in keys.{names[digest]}.")
            names[digest] = name
        if is_whole:
            key = Key(name=name, streams=StreamPatterns(tuple(found.pop("streams"))), **found)
            keys.update(dict.fromkeys(digests, key))
    return keys


def _cors(data: Any, mistakes: _Mistakes) -> Cors | None:
    if data is None:
        return None
    found, is_whole = mistakes.load(CorsSchema(), data, place="cors")
    if not is_whole:
        return None
    return Cors(
        origins=frozenset(found["origins"]),
        streams=StreamPatterns(tuple(found["streams"])),
        max_age_seconds=found["max_age_seconds"],
    )


def _webhooks(data: Any, mistakes: _Mistakes, *, secret: Secret) -> dict[str, Webhook]:
    webhooks: dict[str, Webhook] = {}
    for source, table in _tables(data, mistakes, place="webhooks").items():
        place = f"webhooks.{source}"
        if not STREAM.fullmatch(source):
            mistakes.add(
                place,
                "A source's name is 1 to 64 of a-z 0-9 _ -, and neither _dead nor _watermark.",
            )
        found, is_whole = mistakes.load(WebhookSchema(), table, place=place)
        scheme = SCHEMES.get(found.get("scheme", ""))
        secrets: list[bytes] = []
        for number, reference in enumerate(found.get("secrets", ())):
            try:
                value = secret(reference)
                secrets.append(scheme.secret(value) if scheme else value.encode())
            except ValueError as error:
                mistakes.add(f"{place}.secrets.{number}", str(error))
        if not is_whole:
            continue
        webhooks[source] = Webhook(
            source=source,
            secrets=tuple(secrets),
            options=_hmac_options(found) if found["scheme"] == "hmac" else None,
            stream=found["stream"] or source,
            headers=tuple(found["headers"]),
            kept_headers=_own_headers(found, scheme),
            **{name: found[name] for name in ("scheme", "status", "body", "verify_token")},
        )
    return webhooks


def _own_headers(found: Mapping[str, Any], scheme: Scheme | None) -> tuple[str, ...]:
    """Return the headers in which a source names its deliveries."""
    names: list[str | None] = [found["id_header"], found["type_header"]]
    if scheme is not None and found["scheme"] != "hmac":
        names = [scheme.id_header, scheme.type_header]
    return tuple(name for name in names if name)


def _hmac_options(found: Mapping[str, Any]) -> HmacOptions:
    names = ("header", "prefix", "algorithm", "encoding", "id_header", "type_header",
             "timestamp_header", "template")  # fmt: skip
    return HmacOptions(**{name: found[name] for name in names})


def _endpoints(data: Any, mistakes: _Mistakes) -> dict[str, Endpoint]:
    endpoints: dict[str, Endpoint] = {}
    for path, table in _tables(data, mistakes, place="endpoints").items():
        place = f'endpoints."{path}"'
        if not _PATH.fullmatch(path) or len(path) > MAX_PATH:
            mistakes.add(place, "Must be a path such as /v1/batch.")
        elif any(path == own or path.startswith(own + "/") for own in OWN_PATHS):
            mistakes.add(place, "Is under a route of the service.")
        found, is_whole = mistakes.load(EndpointSchema(), table, place=place)
        if is_whole:
            endpoints[path] = Endpoint(path=path, **found)
    return endpoints
