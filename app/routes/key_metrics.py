"""The figures of access keys in `/metrics`: by the key's name, never by the key."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.access.gate import Gate
from app.access.key_usage import Use

PREFIX = "bucket_brigade_"
_REFUSED = "REFUSED_"


class KeyFigures(Collector):
    """What keys were used for, by all processes since the spool was new."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def collect(self) -> Iterator[Metric]:
        """Yield the figures; blocks on the disk."""
        totals = self._gate.usage.totals()
        requests = CounterMetricFamily(
            PREFIX + "key_requests", "Requests that a key was admitted with.", labels=["key"]
        )
        size = CounterMetricFamily(
            PREFIX + "key_bytes", "Bytes of bodies sent with a key.", labels=["key"]
        )
        refusals = CounterMetricFamily(
            PREFIX + "key_refusals",
            "Requests of a key that were refused.",
            labels=["key", "status"],
        )
        for name, cells in sorted(totals.items()):
            requests.add_metric([name], cells[Use.REQUESTS])
            size.add_metric([name], cells[Use.BYTES])
            for use in Use:
                if use.name.startswith(_REFUSED):
                    refusals.add_metric([name, use.name.removeprefix(_REFUSED)], cells[use])
        yield from (requests, size, refusals)
        yield GaugeMetricFamily(
            PREFIX + "access_file_wrong",
            "1 while the access file is wrong, and the rules before it are in force.",
            value=float(self._gate.is_wrong),
        )
