"""A gateway's figures for those who scrape them: Prometheus families, made when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client.metrics_core import Metric

    from mcpsec.telemetry.counts import RequestCounts
    from mcpsec.telemetry.figures import Family

__all__ = ["encode", "registry_of"]


def registry_of(version: str, families: Sequence[Family], requests: RequestCounts) -> CollectorRegistry:
    """A registry that shows these figures and the process's own. ``families`` may grow afterwards."""
    registry = CollectorRegistry()
    registry.register(_Collected(version, families, requests))
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


def encode(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The text of a scrape and its media type, OpenMetrics or Prometheus' own as ``accept`` asks."""
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


class _Collected(Collector):
    """Reads each figure as it is at that moment; may run in another thread than the one that counts."""

    def __init__(self, version: str, families: Sequence[Family], requests: RequestCounts) -> None:
        self._version = version
        self._families = families
        self._requests = requests

    def collect(self) -> Iterable[Metric]:
        """Every family."""
        yield InfoMetricFamily("mcpsec_build", "The version that is running.", {"version": self._version})
        yield from _of_requests(self._requests)
        for family in tuple(self._families):
            yield _of(family)


def _of(family: Family) -> Metric:
    labels = [family.label] if family.label else None
    made = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(
        family.name, family.text, labels=labels
    )
    for value, figure in family.figures():
        made.add_metric([value] if labels else [], figure)
    return made


def _of_requests(counts: RequestCounts) -> Iterable[Metric]:
    finished = CounterMetricFamily(
        "mcpsec_requests",
        "Finished requests by upstream, method class, decision and HTTP status.",
        labels=["upstream", "method_class", "decision", "status"],
    )
    for labels, count in counts.requests():
        finished.add_metric(labels, count)
    yield finished
    clients = CounterMetricFamily(
        "mcpsec_client_requests", "Finished requests by client.", labels=["client", "decision"]
    )
    for labels, count in counts.clients():
        clients.add_metric(labels, count)
    yield clients
    for name, text, of_upstreams in (
        ("mcpsec_request_duration_seconds", "Time from the first byte of a request to the last of its answer.", False),
        ("mcpsec_upstream_duration_seconds", "Time that an upstream took to answer.", True),
    ):
        histogram = HistogramMetricFamily(name, text, labels=["upstream"])
        for upstream, buckets, total in counts.timings(of_upstreams=of_upstreams):
            histogram.add_metric([upstream], buckets, total)
        yield histogram
