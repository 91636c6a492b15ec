"""The contenders: this service under several servers, the original in Go, the earlier designs.

Data only: `running` starts them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks import ROOT

# Runs are short, so segments are sealed early. At the default of 10 s, a tenth of the objects are
# made wherever age and not size seals them.
AGE_SECONDS = 1.0
# Fluent Bit looks for objects that are old enough every six seconds (UPLOAD_TIMER_MIN_WAIT in its
# out_s3), flushes its input every second and publishes its figures every second, which have to be
# the same twice.
FLUENT_BIT_WAITS_SECONDS = 9.0
GTHREAD = {"ENGINE": "gthread"}
DISK, MEMORY = {"DURABILITY": "disk"}, {"DURABILITY": "memory"}
STORED = {"DURABILITY": "stored"}
QUEUE = {"DURABILITY": "queue", "RECEIPT_SECRET": "bench"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A design to measure."""

    name: str
    about: str
    settings: Mapping[str, str] = field(default_factory=dict)
    # `queue` is gunicorn with a Redis server on this machine, `roles` that with a second service
    # that uploads.
    server: Literal["gunicorn", "granian", "queue", "roles", "original", "fluent-bit"] = "gunicorn"
    # A module of `benchmarks.baselines`; empty for the others.
    baseline: str = ""
    # The checkout of this project that it is started from.
    root: Path = ROOT

    @property
    def bare(self) -> bool:
        """Whether it reads many payloads in a request only from a bare array."""
        return self.server == "fluent-bit"

    @property
    def ours(self) -> bool:
        """Whether it is this service, making objects of many payloads, under whichever server."""
        alone = self.baseline or self.settings.get("OBJECT_MAX_PAYLOADS") == "1"
        return self.server in {"gunicorn", "granian", "queue", "roles"} and not alone

    @property
    def earlier(self) -> bool:
        """Whether it is an earlier design in Python: so far behind that one round is enough."""
        return self.server == "gunicorn" and not self.ours

    @property
    def waits_seconds(self) -> float:
        """How long it holds a last payload on purpose, to fill an object."""
        if self.server == "fluent-bit":
            return FLUENT_BIT_WAITS_SECONDS
        return AGE_SECONDS if self.ours else 0.0


CONTENDERS = (
    Contender(name="disk", about="this service; a 202 leaves after fsync", settings=DISK),
    Contender(
        name="stored",
        about="this service; a 201 leaves when the object is in S3, 0.25 s later",
        settings=STORED,
    ),
    Contender(
        name="memory",
        about="this service; a 202 leaves when the payload is in memory",
        settings=MEMORY,
    ),
    Contender(
        name="queue",
        about="this service; a 202 leaves when Redis, here too, has synced it; CPU with Redis'",
        settings=QUEUE,
        server="queue",
    ),
    Contender(
        name="queue-roles",
        about="the same; ROLE=web accepts, and ROLE=worker, processes of their own, upload",
        settings=QUEUE,
        server="roles",
    ),
    Contender(
        name="disk-gthread",
        about="disk, with ENGINE=gthread: gunicorn's own threads read HTTP",
        settings={**DISK, **GTHREAD},
    ),
    Contender(
        name="memory-gthread",
        about="memory, under the same",
        settings={**MEMORY, **GTHREAD},
    ),
    Contender(
        name="granian-disk",
        about="disk, under plain Granian, without gunicorn",
        settings=DISK,
        server="granian",
    ),
    Contender(
        name="granian-memory", about="memory, under the same", settings=MEMORY, server="granian"
    ),
    Contender(
        name="go",
        about="the original in Go: chan of chan, 100 workers, an object per payload, in memory",
        server="original",
    ),
    Contender(
        name="go-kept",
        about="the same, with a kept-alive connection for each worker; AWS's SDK keeps two",
        settings={"KEPT_CONNECTIONS": "100"},
        server="original",
    ),
    Contender(
        name="fluent-bit",
        about="Fluent Bit, http to s3, gzip, buffered in memory; the same payloads in an array",
        server="fluent-bit",
    ),
    Contender(name="handler", about="uploads inside the handler", baseline="handler"),
    Contender(name="threads", about="an unbounded thread per payload", baseline="threads"),
    Contender(name="consumer", about="a buffered queue with one consumer", baseline="consumer"),
    Contender(
        name="chan-of-chan",
        about="the original's design in Python: this service in memory, an object per payload",
        settings={**MEMORY, "OBJECT_MAX_PAYLOADS": "1", "COMPRESSION": "none"},
    ),
)

# By name, what the closer looks are for: they count 202s.
OURS = tuple(
    contender.name
    for contender in CONTENDERS
    if contender.ours and contender.settings is not STORED
)


def contender(name: str) -> Contender:
    """Return the contender of that name."""
    return next(found for found in CONTENDERS if found.name == name)
