"""`/console`: one page for operators, what it shows as JSON, and the replay of dead letters.

The page is in `app/console/`: HTML, CSS and JavaScript as they are, without a build step.
"""

from pathlib import Path
from typing import Final

import msgspec
from flask import Blueprint, Response, request

from app.access.same_origin import check_action, check_host
from app.console_data import Replayed, console_data
from app.http.problems import Problem, TooLarge, Unavailable
from app.routes.every_request import FlaskHead
from app.routes.receipts import Places
from app.state import state
from workers.errors import BucketBrigadeError, ObjectMissing, StoreError
from workers.operate.dead_letters import DeadLetters, NoSuchDeadLetter
from workers.operate.quarantine import NotInQuarantine, Quarantine, StillDamaged
from workers.operate.queued_dead_letters import QueuedDeadLetters
from workers.overview import lines
from workers.overview.lines import FirstLines, NothingThere
from workers.overview.seen import Seen
from workers.upload.reading import UnreadableObject

blueprint = Blueprint("console", __name__)

FILES: Final = Path(__file__).resolve().parent.parent / "console"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# A replay reads the whole letter; a larger one is for the command.
MAX_REPLAY_BYTES = 64 << 20
_places = Places(2)


@blueprint.before_request
def guard() -> None:
    """Keep pages of other sites out, before anything is done."""
    if state().entrance.gate is None:
        check_host(request.headers.get("Host"))
    if request.method == "POST":
        check_action(FlaskHead(request).header)


@blueprint.after_request
def harden(response: Response) -> Response:
    """Allow the page nothing but what it has itself."""
    response.headers.update(HEADERS)
    return response


@blueprint.get("/console")
def page() -> Response:
    """Show the page."""
    return _file("console.html")


@blueprint.get("/console/<file>")
def asset(file: str) -> Response:
    """Return a file of the page's."""
    return _file(file)


@blueprint.get("/console/data")
def data() -> Response:
    """Return what the page shows; blocks on the disk, or on the queue."""
    here = state()
    return _json(console_data(here.settings, here.sight(), here.entrance.gate))


@blueprint.get("/console/lines")
def first_lines() -> Response:
    """Return the first lines of an object, a dead letter or a damaged file; may block on S3."""
    pipeline, given = state().pipeline(), request.args.get
    dead_letter, damaged = given("dead_letter"), given("damaged")
    try:
        if dead_letter is not None:
            return _json(lines.of_dead_letter(state().letters(), dead_letter))
        if damaged is not None:
            return _json(lines.of_damaged(pipeline.spool, damaged))
        return _json(_lines_of_object(given("bucket", ""), given("key", "")))
    except (NothingThere, ObjectMissing) as error:
        raise Problem(f"Nothing is there: {error}.", status=404) from error
    except UnreadableObject as error:
        raise Problem(f"It cannot be read: {error}.", status=404) from error
    except (StoreError, TimeoutError) as error:
        is_web = state().settings.role == "web"
        what = (
            "With ROLE=web this process may lack access to S3" if is_web else "S3 does not answer"
        )
        raise Unavailable(f"{what}: {error}", retry_after=pipeline.retry_after()) from error


@blueprint.post("/console/dead-letters/<segment>/replay")
def replay(segment: str) -> Response:
    """Give a dead letter back to the service; blocks on the disk, and on S3 for a moment."""
    return _replay(state().letters(), segment, command="dead-letters")


@blueprint.post("/console/quarantine/<segment>/replay")
def replay_damaged(segment: str) -> Response:
    """Give back what was lost of a file that is whole again; blocks on the disk, and on S3."""
    pipeline = state().pipeline()
    damaged = Quarantine(pipeline.spool, bucket=pipeline.bucket)
    return _replay(damaged, segment, command="quarantine")


def _replay(
    found: DeadLetters | QueuedDeadLetters | Quarantine, segment: str, *, command: str
) -> Response:
    try:
        if found.replay_bytes(segment) > MAX_REPLAY_BYTES:
            raise TooLarge(f"It is large: use `flask {command} replay {segment}`.")
        payloads = found.replay(segment)
    except (NoSuchDeadLetter, NotInQuarantine) as error:
        raise Problem(f"There is no {segment}.", status=404) from error
    except StillDamaged as error:
        raise Problem(f"It cannot be replayed: {error}.", status=409) from error
    except (BucketBrigadeError, OSError) as error:
        raise Unavailable(f"It cannot be replayed: {error}.", retry_after=5) from error
    state().pipeline().adopt_now()
    return _json(Replayed(segment=segment, payloads=payloads))


def _lines_of_object(bucket: str, key: str) -> FirstLines:
    here = state()
    if bucket != here.settings.s3_bucket and bucket not in _buckets(here.sight()):
        raise NothingThere(f"{bucket} is no bucket of this service")
    with _places.take():
        return lines.of_object(here.pipeline().bucket, bucket, key)


def _buckets(seen: Seen) -> set[str]:
    return {stored.bucket for stored in seen.objects}


def _json(found: object) -> Response:
    return Response(msgspec.json.encode(found), mimetype="application/json")


def _file(name: str) -> Response:
    path = FILES / name
    kind = TYPES.get(path.suffix)
    if kind is None or path.parent != FILES or not path.is_file():
        raise Problem("There is no such file.", status=404)
    return Response(path.read_bytes(), content_type=kind)
