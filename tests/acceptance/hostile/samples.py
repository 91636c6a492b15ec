"""What the tests of hostile clients share."""

import contextlib
from collections.abc import Iterator

from tests.support.service import Service

REQUEST_SECONDS = 1.0
# What a loaded machine may take beyond it.
MAX_WAIT = 20.0
MIB = 1 << 20
LINE = b'{"half":1}\n'
NDJSON = {"Content-Type": "application/x-ndjson"}
CHUNKED = {**NDJSON, "Transfer-Encoding": "chunked"}


@contextlib.contextmanager
def nothing_accepted(service: Service) -> Iterator[None]:
    """See that nothing is accepted meanwhile, and that the service lives."""
    before = service.stats()["accepted"]
    yield
    # Requests are taken up in the order that they came in: those before this one are under way.
    assert service.get("/readyz").status == 200
    assert service.stats()["accepted"] == before
