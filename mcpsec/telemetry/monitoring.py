"""Files for other people's monitoring: a Grafana dashboard and Prometheus alert rules over ``metrics``' names."""

from __future__ import annotations

from importlib import resources

__all__ = ["FILES", "monitoring_file"]

FILES: dict[str, str] = {
    "mcpsec-grafana-dashboard.json": "grafana-dashboard.json",
    "mcpsec-prometheus-rules.yml": "prometheus-rules.yml",
}
"""The name under which each file is written, and the name of its packaged data."""


def monitoring_file(name: str) -> bytes:
    """The content of one of ``FILES``."""
    return resources.files(__package__).joinpath(f"data/{FILES[name]}").read_bytes()
