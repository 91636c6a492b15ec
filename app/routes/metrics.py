"""`/metrics` for Prometheus: the counters' figures, added up over all processes.

The client library only writes the format. Its multiprocess mode would be a second set of books.
"""

import platform
import time
from collections.abc import Iterator

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.routes.key_metrics import KeyFigures
from app.state import state
from app.version import VERSION
from workers.dispatch.causes import PARKED_REASONS
from workers.spool.counters import PUT_SECONDS, Field, Totals

blueprint = Blueprint("metrics", __name__)

PREFIX = "bucket_brigade_"
COUNTERS = {
    "payloads_accepted": (Field.ACCEPTED, "Payloads answered 202."),
    "payloads_stored": (Field.STORED, "Payloads that are in S3."),
    "payload_bytes_accepted": (Field.ACCEPTED_BYTES, "Bytes of accepted lines, uncompressed."),
    "objects_stored": (Field.STORED_OBJECTS, "Objects put into S3."),
    "object_bytes_stored": (Field.STORED_BYTES, "Bytes of stored objects, compressed."),
    "early_seals": (Field.EARLY_SEALS, "Segments sealed as MAX_STREAMS were open."),
    "put_conflicts": (Field.CONFLICTS, "PUTs answered 412: the key was taken, usually by us."),
    "commits": (Field.COMMITS, "Group commits to the spool."),
    "log_lines_dropped": (Field.LOG_LINES_DROPPED, "Lines that the log's reader did not take."),
    "idempotent_replays": (Field.KEYS_REPLAYED, "Requests answered as the first with their key."),
    "idempotency_keys_dropped": (
        Field.KEYS_DROPPED_EARLY,
        "Keys that gave way before their time.",
    ),
    "collections_committed": (Field.COMMITTED_COLLECTIONS, "Collections in those commits."),
}
GAUGES = {
    "payloads_dead": (Field.DEAD, "Payloads that are dead letters."),
    "queue_depth": (Field.QUEUE_DEPTH, "Jobs in the queues."),
    "idle_workers": (Field.IDLE_WORKERS, "Workers waiting for a job."),
    "held_bytes": (Field.HELD_BYTES, "Bytes of payloads not stored yet."),
}


@blueprint.get("/metrics")
def metrics() -> Response:
    """Expose the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Figures(state().pipeline().totals()))
    gate = state().entrance.gate
    if gate is not None:
        registry.register(KeyFigures(gate))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Figures(Collector):
    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        totals = self._totals
        build = {"version": VERSION, "python": platform.python_version()}
        yield InfoMetricFamily(PREFIX + "build", "What answers: the service's version.", build)
        for name, (field, text) in COUNTERS.items():
            yield CounterMetricFamily(PREFIX + name, text, value=totals[field])
        for name, (field, text) in GAUGES.items():
            yield GaugeMetricFamily(PREFIX + name, text, value=totals[field])
        yield GaugeMetricFamily(
            PREFIX + "payloads_pending", "Payloads on their way.", value=totals.pending
        )
        oldest = totals.oldest_microseconds
        age = max(0.0, time.time() - oldest / 1e6) if oldest else 0.0
        yield GaugeMetricFamily(
            PREFIX + "oldest_unstored_seconds", "Age of the oldest segment not stored.", value=age
        )
        yield GaugeMetricFamily(
            PREFIX + "spool_unreadable",
            "Entries of the spool that cannot be read, and are in no figure.",
            value=totals.unreadable,
        )
        yield self._by_label("requests", "Responses by status.", "status", "REQUESTS_")
        yield self._by_label("put_failures", "PUTs that failed.", "reason", "PUT_FAILURES_")
        yield self._parked()
        yield self._put_seconds()

    def _by_label(self, name: str, text: str, label: str, prefix: str) -> Metric:
        family = CounterMetricFamily(PREFIX + name, text, labels=[label])
        for field in Field:
            if field.name.startswith(prefix):
                value = field.name.removeprefix(prefix).lower()
                family.add_metric([value], self._totals[field])
        return family

    def _parked(self) -> Metric:
        family = GaugeMetricFamily(
            PREFIX + "parked_segments", "Segments that wait for a next try.", labels=["reason"]
        )
        for reason in PARKED_REASONS:
            family.add_metric([reason], self._totals[Field[f"PARKED_{reason.upper()}"]])
        return family

    def _put_seconds(self) -> Metric:
        cells = self._totals.put_buckets
        bounds = [*map(str, PUT_SECONDS), "+Inf"]
        buckets = [(bound, float(sum(cells[: i + 1]))) for i, bound in enumerate(bounds)]
        return HistogramMetricFamily(
            PREFIX + "put_seconds",
            "How long answered PUTs took.",
            buckets=buckets,
            sum_value=self._totals[Field.PUT_MICROSECONDS] / 1e6,
        )
