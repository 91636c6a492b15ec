"""The steps of a request up to its 202, in memory mode."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app.access.credentials import digest
from app.access.gate import Gate
from app.access.usage_files import UsageFiles
from app.access.watched_file import AccessFile
from app.factory import create_app
from app.http.responses import Answer, Finisher
from app.ingest.accepted import AcceptedAnswers
from app.ingest.arrival import Entrance
from app.ingest.formats.decoding import decode
from app.ingest.posts import Posts
from app.logs import take_request_id
from benchmarks.stages.fixtures import CONTENT_TYPE, Call, Lab, Step, bodies, lines
from workers.segments.future import DurabilityFuture, OwnedCallback, set_results

# Requests of a group.
GROUP = 16


def decode_body(_: Lab, size: int) -> Call:
    """Turn a request's body into checked lines."""
    body = bodies(size)
    return lambda: decode(body(), content_type=CONTENT_TYPE), 200


def append(lab: Lab, size: int) -> Call:
    """Place a collection in its segment, in memory."""
    pipeline, given = lab.pipeline(), lines(size)
    return lambda: pipeline.take("s", given, count=size).result(), 200


def settle(lab: Lab, size: int) -> Call:
    """Make a group's futures, give them callbacks, and mark them done: a share of that."""
    pipeline = lab.pipeline()
    runs = pipeline.take("s", lines(size), count=size).runs
    owner = _Owner()
    turns = itertools.cycle([*([False] * (GROUP - 1)), True])
    futures: list[DurabilityFuture] = []

    def call() -> None:
        futures.append(DurabilityFuture(runs, OwnedCallback(owner)))
        if next(turns):
            set_results(futures)
            futures.clear()

    return call, 1000


def make_request_id(_: Lab, __: int) -> Call:
    """Make the id of a request that came without one."""
    return lambda: take_request_id(None), 1000


def count(lab: Lab, _: int) -> Call:
    """Add its id to each response of a group, and count their statuses: a share of that."""
    finisher = Finisher(lab.pipeline().process_spool.counters.add)
    turns = itertools.cycle([*([False] * (GROUP - 1)), True])
    answers: list[tuple[Answer, str]] = []

    def call() -> None:
        answers.append((Answer(202, [], b""), "x"))
        if next(turns):
            finisher.finish_all(answers)
            answers.clear()

    return call, 1000


def issue_receipt(lab: Lab, size: int) -> Call:
    """Make a receipt's id."""
    pipeline = lab.pipeline()
    [receipt] = pipeline.take("s", lines(size), count=size).result()
    issuer = pipeline.receipts.issuer(receipt.header)
    return lambda: issuer.issue(receipt.first_line, receipt.count), 1000


def write_answer(lab: Lab, size: int) -> Call:
    """Make the 202: its receipts, and the document around them."""
    pipeline = lab.pipeline()
    runs = pipeline.take("s", lines(size), count=size).runs
    accepted = AcceptedAnswers(durability="disk", issuer=pipeline.receipts.issuer)
    return lambda: accepted.answer(runs), 1000


class _Owner:
    """What goes on with futures that are done: nothing."""

    def on_done(self, callback: object, future: DurabilityFuture) -> None:
        """Do nothing."""

    def on_group_done(self, done: Sequence[tuple[object, DurabilityFuture]]) -> None:
        """Do nothing."""


class _Post:
    """A request whose response goes nowhere."""

    stream, content_type, content_encoding, prefer = "s", CONTENT_TYPE, "", ""
    idempotency_key: str | None = None
    sent_id: str | None = None
    arrival: Any = None

    def send(self, answer: object) -> None:
        """Drop the response."""

    def release(self) -> None:
        """Do nothing: it takes no memory."""


class _Head:
    """The head of a request with a key."""

    query = ""

    def __init__(self, key: str) -> None:
        self._headers = {"authorization": f"Bearer {key}"}

    def header(self, name: str) -> str | None:
        """Return a header's value."""
        return self._headers.get(name)

    def header_items(self) -> Iterable[tuple[str, str]]:
        """Return all headers."""
        return self._headers.items()


def known_key(*, limit: int | None = None) -> Callable[[Lab, int], Call]:
    """Make the step that finds a key again and counts its use: what an access file adds."""

    def step(lab: Lab, size: int) -> Call:
        key, place = "bb_" + "x" * 43, lab.directory / f"known-key-{size}-{limit}"
        lines = [f'sha256 = ["{digest(key).hex()}"]', f"requests_per_second = {limit}"]
        path = place.with_suffix(".toml")
        path.write_text("\n".join(["[keys.k]", *(lines if limit else lines[:1]), ""]))
        entrance = Entrance(Gate(AccessFile(path, secret=str), usage=lambda: UsageFiles(place)))
        head = _Head(key)
        entrance.arrive("/payloads", head, length=100, encoded=False)

        def call() -> None:
            assert entrance.known is not None
            known = entrance.known.find("/payloads", head)
            assert known is not None
            known.begin()
            known.body_arrived(100)
            known.finish(202)

        return call, 1000

    return step


def whole_post(lab: Lab, size: int) -> Call:
    """Take a body in memory mode and answer, without the HTTP layer before it."""
    return _posts(lab.pipeline(), lab, size)


def _posts(pipeline: Any, lab: Lab, size: int) -> Call:
    body, handler = bodies(size), lab.handler(pipeline)
    unused: Any = None
    finisher = Finisher(lambda _, __: None)
    posts = Posts(handler, finisher=finisher, small=unused, large=unused, keyed=unused)
    call = lambda: posts.begin(_Post(), body())  # noqa: E731
    return call, 200


def partitioned_post(field: str) -> Step:
    """Make a step that takes a body as `whole_post`, with a field of payloads in the key."""
    environ = {"KEY_TEMPLATE": f"{{stream}}/{{{field}}}/{{segment}}"}
    if not field.startswith("payload."):
        environ["EVENT_TIME"] = "/ts"

    def step(lab: Lab, size: int) -> Call:
        return _posts(lab.pipeline(**environ), lab, size)

    return step


def application(lab: Lab, size: int) -> Call:
    """Answer a request by Flask and its own client."""
    pipeline, body = lab.pipeline(), bodies(size)
    app = create_app(lab.settings(DURABILITY="memory"), pipeline=lambda: pipeline)
    client = app.test_client()
    return lambda: client.post("/payloads", data=body(), content_type=CONTENT_TYPE), 100
