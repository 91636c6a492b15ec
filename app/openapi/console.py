"""The console's operations in the OpenAPI document."""

from app.access.same_origin import ACTION, ACTION_HEADER
from app.console_data import ConsoleData, Replayed
from app.openapi.parts import JSON, Json, get, in_path, ref
from workers.overview.lines import FirstLines
from workers.segments.naming import NAME

CONSOLE = (ConsoleData, FirstLines, Replayed)


def console_paths(refused: tuple[int, ...]) -> Json:
    """Return the paths; `refused` are the statuses that any route may answer with."""
    # Without an access file the host may be refused.
    refused = (*refused, 403)
    html = {"type": "string"}
    asset = get("A file of the page", "text/*", html, (404, *refused))
    asset["responses"]["200"]["content"]["image/svg+xml"] = {}
    asset["parameters"] = [in_path("file")]
    lines = get("The first lines of something", JSON, ref("FirstLines"), (404, 503, *refused))
    lines["parameters"] = [_query(name) for name in ("bucket", "key", "dead_letter", "damaged")]
    replay = get("Replay a dead letter", JSON, ref("Replayed"), (404, 413, 503, *refused))
    lost = "Replay what was lost of a damaged file"
    again = get(lost, JSON, ref("Replayed"), (404, 409, 413, 503, *refused))
    action = {"name": ACTION_HEADER, "in": "header", "schema": {"const": ACTION}}
    for each in (replay, again):
        each["parameters"] = [in_path("segment", NAME.pattern), {**action, "required": True}]
    return {
        "/console": {"get": get("The page for operators", "text/html", html, refused)},
        "/console/data": {"get": get("What it shows", JSON, ref("ConsoleData"), refused)},
        "/console/lines": {"get": lines},
        "/console/dead-letters/{segment}/replay": {"post": replay},
        "/console/quarantine/{segment}/replay": {"post": again},
        "/console/{file}": {"get": asset},
    }


def _query(name: str) -> Json:
    return {"name": name, "in": "query", "schema": {"type": "string"}}
