"""The export of traces and metrics, when the deployment file names a collector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.upstreams.credentials import resolve

if TYPE_CHECKING:
    from mcpsec.deployment.model import Deployment
    from mcpsec.telemetry.metrics import Metrics
    from mcpsec.telemetry.otel import OpenTelemetryExport

__all__ = ["traces_of"]


def traces_of(deployment: Deployment, metrics: Metrics) -> OpenTelemetryExport | None:
    """The running export; None without ``[opentelemetry]``.

    Raises:
        ConfigurationError: the extra ``otel`` is not installed.
        SecretError: a header's secret can't be fetched.
    """
    config = deployment.opentelemetry
    if config is None:
        return None
    from mcpsec.telemetry.otel import OpenTelemetryExport

    return OpenTelemetryExport(config, resolve(config.headers, "opentelemetry.headers"), metrics.registry)
