"""The 202. What the receipts of one segment share is written once. Knows no HTTP layer."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from app.http.problems import Fault, listed
from app.http.responses import JSON, Answer
from app.ingest.preferences import Preferences
from workers.operate.receipts import Issuer
from workers.segments.future import Run
from workers.segments.segment import Header
from workers.settings.stored import STORED

# A stream has one open segment; of those that have none here the texts are made anew.
MAX_SEGMENTS: Final = 1024
_encode = msgspec.json.Encoder().encode


class _Form:
    """What a receipt of one segment is filled into."""

    def __init__(self, header: Header, issuer: Issuer) -> None:
        self._issue = issuer.issue
        self._object = _encode(f"s3://{header.bucket}/{header.key}").decode()

    def fill(self, run: Run) -> tuple[str, str]:
        """Return a receipt's id, and the receipt as JSON."""
        first_line, count = run.first_line, run.count
        id = self._issue(first_line, count, run.indexes)
        more = "" if run.indexes is None else f',"indexes":{_encode(run.indexes).decode()}'
        return id, (
            f'{{"id":"{id}","object":{self._object},"first_line":{first_line},"count":{count}'
            f"{more}}}"
        )


class AcceptedAnswers:
    """Makes the response to every collection that is taken. Safe to share between threads."""

    def __init__(self, *, durability: str, issuer: Callable[[Header], Issuer]) -> None:
        self._durability = durability
        self._is_stored = durability == STORED
        self._form = lru_cache(MAX_SEGMENTS)(lambda header: _Form(header, issuer(header)))

    def answer(self, runs: Sequence[Run]) -> Answer:
        """Return the 202, or 201, for a collection that is cut into runs. Does not block."""
        if self._is_stored:
            return self._spelled(runs, is_stored=True)
        accepted = runs[0].count
        id, receipts = self._form(runs[0].segment.header).fill(runs[0])
        # Nearly always there is one.
        if len(runs) > 1:
            accepted = sum([run.count for run in runs])
            more = [self._form(run.segment.header).fill(run)[1] for run in runs[1:]]
            receipts = ",".join([receipts, *more])
        body = (
            f'{{"accepted":{accepted},"durability":"{self._durability}","receipts":[{receipts}]}}'
        )
        return Answer(202, [JSON, ("Location", f"/receipts/{id}")], body.encode())

    def preferred(self, runs: Sequence[Run], preferences: Preferences) -> Answer:
        """Return the 201 or 202 for a collection of a request that had preferences."""
        rejected = preferences.rejected
        return self._spelled(
            runs,
            is_stored=preferences.is_stored or self._is_stored,
            rejected=None if rejected is None else rejected.faults,
            applied=preferences.applied(),
        )

    def _spelled(
        self,
        runs: Sequence[Run],
        *,
        is_stored: bool,
        rejected: Sequence[Fault] | None = None,
        applied: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        filled = [self._form(run.segment.header).fill(run) for run in runs]
        state = ',"state":"stored"}' if is_stored else "}"
        body = {
            "accepted": sum(run.count for run in runs),
            "durability": "stored" if is_stored else self._durability,
            "receipts": [msgspec.Raw((text[:-1] + state).encode()) for _, text in filled],
        }
        if rejected is not None:
            body["rejected"] = list(map(listed, rejected))
        headers = [JSON, ("Location", f"/receipts/{filled[0][0]}"), *applied]
        return Answer(201 if is_stored else 202, headers, _encode(body))
