"""Holds what is in the bucket and in the counters against what clients were answered."""

import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from tests.chaos.model.disk import SimDisk
from tests.chaos.model.findings import Findings, Place
from tests.chaos.model.process import Process, payload
from tests.chaos.model.spool import SimSpool
from workers.spool import frames
from workers.spool.counters import Field
from workers.spool.process_spool import ProcessSpool
from workers.spool.segment_file import OPEN, READY
from workers.spool.survey import survey

PAYLOAD = re.compile(rb'\{"id":(\d+),"pad":"(x*)"\}')


def check_ledger(process: Process, disk: SimDisk) -> None:
    """Check that pending, which is not counted, is what the files and segments hold.

    Raises:
        AssertionError: it is not.
    """
    for process_spool in process.process_spools:
        if process_spool.unread or process_spool.unknown:
            continue
        counted = (
            process_spool.counters[Field.ACCEPTED]
            - process_spool.counters[Field.STORED]
            - process_spool.counters[Field.DEAD]
        )
        held = sum(segment.lines for segment in process_spool.unfinished())
        held += sum(_lines(name, content) for name, content in _unheld(process_spool, disk))
        assert counted == held, f"the ledger says {counted} pending, and there are {held}"


def _unheld(process_spool: ProcessSpool, disk: SimDisk) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the segments that are not in memory: parked, or not taken up yet."""
    contents = disk.contents(process_spool.path)
    parked = [name for name, segment in process_spool._held.items() if segment is None]
    for name in (f"{segment}{kind}" for segment in parked for kind in (OPEN, READY)):
        if name in contents:
            yield name, contents[name]
    yield from ((file.path.name, contents[file.path.name]) for file in process_spool.backlog)


# The same files are asked for after every act, and few have changed.
@lru_cache(maxsize=256)
def _lines(name: str, content: bytes) -> int:
    """Return how many lines a segment file has; its name and its checksums are of one trial."""
    path = Path(name)
    try:
        return frames.read_seal(content[-frames.SEAL_BYTES :], frames.seed(path.stem))[0]
    except frames.Damaged:
        found = survey(io.BytesIO(content), frames.seed(path.stem), frozen=path.suffix == READY)
        return found.lines


def judge(
    lines: Iterable[tuple[Place, bytes]],
    *,
    acknowledged: Mapping[int, Place],
    refused: Collection[int],
    harmed: Collection[int] = (),
    spool: SimSpool,
    cuts: int,
    uncertain: bool,
) -> Findings:
    """Judge a trial by the lines in its bucket. `uncertain`: a sync has failed on the way.

    `harmed` payloads were damaged in the spool: they may be lost, and are dead then.
    """
    found: dict[int, list[Place]] = {}
    strange = []
    for place, line in lines:
        match = PAYLOAD.fullmatch(line)
        if match and payload(number := int(match[1])) == line + b"\n":
            found.setdefault(number, []).append(place)
        # After a failed sync a line that was refused may be half there; it is then left empty.
        elif line or not (uncertain or harmed):
            strange.append(f"{place} is no payload that was sent: {line[:60]!r}")
    misplaced = (
        f"{number} is at {found[number]}, not at {place}"
        for number, place in acknowledged.items()
        if number in found and found[number] != [place]
    )
    stored = sum(map(len, found.values()))
    return Findings(
        lost=[number for number in acknowledged if number not in found and number not in harmed],
        twice=[number for number, places in found.items() if len(places) > 1],
        faults=[
            *strange,
            *misplaced,
            *(f"{number} was refused, and is stored" for number in set(refused) & set(found)),
            *_judge_ledger(spool, stored=stored, harmed=harmed, cuts=cuts, uncertain=uncertain),
            *_judge_accepted(spool, acknowledged=len(acknowledged), cuts=cuts),
        ],
    )


def _judge_accepted(spool: SimSpool, *, acknowledged: int, cuts: int) -> Iterator[str]:
    accepted = spool.count(Field.ACCEPTED)
    if not cuts and accepted < acknowledged:
        yield f"the ledger: {accepted} accepted, and {acknowledged} were acknowledged"


def _judge_ledger(
    spool: SimSpool, *, stored: int, harmed: Collection[int], cuts: int, uncertain: bool
) -> Iterator[str]:
    # With damage beside it, what a power cut took back may be counted dead too.
    if not cuts and harmed and spool.count(Field.DEAD) > len(harmed):
        yield f"the ledger: {spool.count(Field.DEAD)} dead, and only {len(harmed)} were harmed"
    if not uncertain and not harmed:
        yield from (f"quarantined without damage: {name}" for name in spool.quarantined)
        if spool.dead or spool.count(Field.DEAD):
            yield f"the ledger: {spool.count(Field.DEAD)} dead, where there can be none"
    accepted, dead = spool.count(Field.ACCEPTED), spool.count(Field.DEAD)
    counted = spool.count(Field.STORED)
    if accepted != counted + dead:
        yield f"the ledger: accepted {accepted}, stored {counted}, dead {dead}"
    # Only a power cut takes counters back; a kill does not.
    if not cuts and counted != stored:
        yield f"the ledger: {counted} stored, and in S3 there are {stored}"
