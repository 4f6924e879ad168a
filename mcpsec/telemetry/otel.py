"""Traces and metrics for an OpenTelemetry collector (OTLP over HTTP, protobuf). Needs the extra ``otel``.

A span is made from the request's finished record, as the log writes it: redacted, and without a span object that the
request would have to carry. Metrics are those of ``/metrics``, converted at each export: the hot path counts once.
Everything is sent by threads of its own; what a collector does not take in time is dropped and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mcpsec import __version__
from mcpsec.errors import ConfigurationError

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import export as points
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
except ImportError:
    raise ConfigurationError(
        "[opentelemetry] needs OpenTelemetry's packages", hint="pip install 'mcpsec-toolkit[otel]'"
    ) from None

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from mcpsec.deployment.telemetry_model import OpenTelemetry

__all__ = ["OpenTelemetryExport", "convert"]

_TIMEOUT = 10.0
_QUEUE = 4096
_SCOPE = InstrumentationScope("mcpsec.telemetry", __version__)
_ATTRIBUTES = {
    "method": "mcp.method.name",
    "era": "mcpsec.era",
    "session": "mcpsec.session",
    "request_id": "mcpsec.request_id",
    "client": "mcpsec.client",
    "identified_by": "mcpsec.identified_by",
    "upstream": "mcpsec.upstream",
    "resource": "mcpsec.resource",
    "method_class": "mcpsec.method_class",
    "decision": "mcpsec.decision",
    "rule": "mcpsec.rule",
    "reason": "mcpsec.reason",
    "upstream_ms": "mcpsec.upstream_ms",
    "seq": "mcpsec.seq",
    "address": "client.address",
    "http_method": "http.request.method",
    "status": "http.response.status_code",
    "request_bytes": "http.request.body.size",
    "response_bytes": "http.response.body.size",
    "user_agent": "user_agent.original",
}
"""Fields of a record, and their names in a span: OpenTelemetry's where its semantic conventions have one."""


class OpenTelemetryExport:
    """Sends spans and metrics until it is closed. ``failures`` counts exports that the collector did not take.

    Raises:
        ConfigurationError: OpenTelemetry is not installed (when the module is imported).
    """

    def __init__(self, config: OpenTelemetry, headers: Mapping[str, str], registry: CollectorRegistry) -> None:
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry").propagate = False  # failures are counted here, and told once
        self.failures = {"traces": 0, "metrics": 0}
        self.failing = False
        self._registry = registry
        self._interval = config.interval
        self._resource = Resource.create({"service.name": config.service_name, "service.version": __version__})
        base = config.endpoint.rstrip("/")
        options: dict[str, Any] = {
            "headers": dict(headers),
            "timeout": _TIMEOUT,
            "certificate_file": None if config.ca is None else str(config.ca),
        }
        self._processor: BatchSpanProcessor | None = None
        if config.traces:
            spans = OTLPSpanExporter(endpoint=f"{base}/v1/traces", **options)
            self._processor = BatchSpanProcessor(_Watched(spans, self._exported), max_queue_size=_QUEUE)
        self._metrics: OTLPMetricExporter | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._export_metrics, name="mcpsec-otlp-metrics", daemon=True)
        if config.metrics:
            self._metrics = OTLPMetricExporter(endpoint=f"{base}/v1/metrics", **options)
            self._thread.start()

    def span(self, record: Mapping[str, Any], *, sampled: bool, parent_id: str | None) -> None:
        """Send a span for a request's record, when its trace is sampled."""
        if self._processor is None or not sampled:
            return
        trace_id = int(record["trace_id"], 16)
        context = SpanContext(trace_id, int(record["span_id"], 16), is_remote=False, trace_flags=TraceFlags(1))
        parent = None
        if parent_id is not None:
            parent = SpanContext(trace_id, int(parent_id, 16), is_remote=True, trace_flags=TraceFlags(1))
        end = int(datetime.fromisoformat(record["time"]).timestamp() * 1e9)
        status = record.get("status", 0)
        bad = record.get("decision") == "failed" or status >= 500
        attributes = {theirs: record[ours] for ours, theirs in _ATTRIBUTES.items() if ours in record}
        if record.get("decision") != "allowed":
            attributes["error.type"] = str(record.get("rule") or record["kind"])
        if record.get("method") == "tools/call" and "resource" in record:
            attributes["gen_ai.tool.name"] = record["resource"].partition("/")[2]
        self._processor.on_end(
            ReadableSpan(
                name=_name(record),
                context=context,
                parent=parent,
                resource=self._resource,
                attributes=attributes,
                kind=SpanKind.SERVER,
                status=Status(StatusCode.ERROR, str(record.get("rule") or "")) if bad else Status(StatusCode.UNSET),
                start_time=end - int(record.get("duration_ms", 0) * 1e6),
                end_time=end,
                instrumentation_scope=_SCOPE,
            )
        )

    def close(self) -> None:
        """Send what waits, at most for a few seconds, and end. Blocks: call it in a thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT + 1)
        if self._processor is not None:
            self._processor.shutdown()  # type: ignore[no-untyped-call] # the SDK types it only for itself

    def _export_metrics(self) -> None:
        started = time.time_ns()
        while not self._stop.wait(self._interval):
            self._export_once(started)
        self._export_once(started)

    def _export_once(self, started: int) -> None:
        if self._metrics is None:
            return
        converted = [each for metric in self._registry.collect() for each in convert(metric, started)]
        scope = points.ScopeMetrics(_SCOPE, converted, "")
        data = points.MetricsData([points.ResourceMetrics(self._resource, [scope], "")])
        try:
            good = self._metrics.export(data) is points.MetricExportResult.SUCCESS
        except Exception:
            good = False
        self._exported("metrics", good=good)

    def _exported(self, signal: str, *, good: bool) -> None:
        self.failing = not good
        self.failures[signal] += not good


class _Watched(SpanExporter):
    """An exporter whose failures are counted."""

    def __init__(self, exporter: SpanExporter, exported: Callable[..., None]) -> None:
        self._exporter = exporter
        self._exported = exported

    def export(self, spans: Any) -> SpanExportResult:
        """Send spans; nothing is raised."""
        try:
            result = self._exporter.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        self._exported("traces", good=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        """End."""
        self._exporter.shutdown()


def convert(metric: Metric, started: int) -> Iterator[points.Metric]:
    """A Prometheus metric as OpenTelemetry metrics; ``started`` is when counting began, in Unix nanoseconds."""
    now = time.time_ns()
    if metric.type == "histogram":
        data = points.Histogram(_histogram_points(metric, started, now), points.AggregationTemporality.CUMULATIVE)
        yield points.Metric(metric.name, metric.documentation, "s" if metric.name.endswith("_seconds") else "", data)
        return
    counter = metric.type == "counter"
    samples = [
        points.NumberDataPoint(dict(sample.labels), started, now, float(sample.value))
        for sample in metric.samples
        if not sample.name.endswith("_created")
    ]
    if not samples:
        return
    if counter:
        total = points.Sum(samples, points.AggregationTemporality.CUMULATIVE, is_monotonic=True)
        yield points.Metric(metric.name, metric.documentation, "", total)
    else:
        yield points.Metric(metric.name, metric.documentation, "", points.Gauge(samples))


def _histogram_points(metric: Metric, started: int, now: int) -> list[points.HistogramDataPoint]:
    """Prometheus counts each bucket with all below it; OpenTelemetry counts each alone, the last without a bound."""
    series: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for sample in metric.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        entry = series.setdefault(tuple(sorted(labels.items())), {"buckets": [], "sum": 0.0, "count": 0})
        if sample.name.endswith("_bucket"):
            entry["buckets"].append((float(sample.labels["le"]), int(sample.value)))
        elif sample.name.endswith("_sum"):
            entry["sum"] = float(sample.value)
        elif sample.name.endswith("_count"):
            entry["count"] = int(sample.value)
    result = []
    for labels_of, entry in series.items():
        buckets = sorted(entry["buckets"])
        totals = [count for _, count in buckets]
        alone = [count - before for count, before in zip(totals, [0, *totals], strict=False)]
        bounds = [bound for bound, _ in buckets[:-1]]
        result.append(
            points.HistogramDataPoint(
                dict(labels_of), started, now, entry["count"], entry["sum"], alone, bounds, float("nan"), float("nan")
            )
        )
    return result


def _name(record: Mapping[str, Any]) -> str:
    """A span's name as the conventions for MCP say: the method and its target, nothing of unbounded number."""
    method = record.get("method") or record.get("http_method") or record["kind"]
    if method == "tools/call" and "resource" in record:
        return f"{method} {record['resource'].partition('/')[2]}"
    return str(method)
