"""What the console and `flask top` show: the overview of the service, and the use of its keys."""

import msgspec

from app.access.gate import Gate
from app.access.key_usage import Use
from app.access.usage_files import added
from workers.overview import overview
from workers.overview.seen import Seen
from workers.settings.settings import Settings

_REFUSED = "REFUSED_"


class KeyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a key was used for: since the spool was new, or by the processes that run.

    `refused` counts by status.
    """

    name: str
    requests: int
    bytes: int
    refused: dict[str, int]


class ConsoleData(overview.Overview, frozen=True, kw_only=True):
    """All that is shown. `keys` is None where there is no access file."""

    keys: list[KeyFigures] | None
    access_file_wrong: bool


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter that goes to S3 again."""

    segment: str
    payloads: int


def console_data(settings: Settings, seen: Seen, gate: Gate | None) -> ConsoleData:
    """Return all that is shown, by what was seen of the service. Blocks on the disk."""
    return ConsoleData(
        **msgspec.structs.asdict(overview.look(settings, seen)),
        keys=None if gate is None else _keys(gate, seen),
        access_file_wrong=gate is not None and gate.is_wrong,
    )


def _keys(gate: Gate, seen: Seen) -> list[KeyFigures]:
    """Return the keys of the access file, and those that were used when it was another one."""
    # Machines that share a queue share no files.
    is_queue = seen.ready is not None
    used = added(each.keys for each in seen.processes) if is_queue else gate.usage.totals()
    totals = {**{name: [0] * len(Use) for name in gate.rules.names}, **used}
    return [
        KeyFigures(
            name=name,
            requests=cells[Use.REQUESTS],
            bytes=cells[Use.BYTES],
            refused={
                use.name.removeprefix(_REFUSED): cells[use]
                for use in Use
                if use.name.startswith(_REFUSED) and cells[use]
            },
        )
        for name, cells in sorted(totals.items())
    ]
