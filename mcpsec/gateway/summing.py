"""Metrics of several processes as those of one (Prometheus text format 0.0.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["sum_expositions"]

# What does not add up: the worst, or the latest, of all processes is the one to show.
_MOST = frozenset(
    {
        "mcpsec_breaker_clients", "mcpsec_breaker_state", "mcpsec_build_info", "mcpsec_log_lag_seconds",
        "process_start_time_seconds",
    }
)  # fmt: skip
_LEAST = frozenset(
    {
        "mcpsec_certificate_expiry_timestamp_seconds", "mcpsec_certificate_days_left", "mcpsec_log_available",
        "mcpsec_upstream_up", "mcpsec_last_reload_successful", "mcpsec_state_up",
    }
)  # fmt: skip


def sum_expositions(texts: Iterable[str]) -> str:
    """One text with every sample of all of them, added up; states show the worst process."""
    lines: dict[str, str | float] = {}  # comments stand for themselves, samples for their value; in order of appearance
    for text in texts:
        for line in text.splitlines():
            if line.startswith("#") or not line.strip():
                lines.setdefault(line, line)
                continue
            sample, _, value = line.rpartition(" ")
            lines[sample] = _both(sample.partition("{")[0], lines.get(sample), float(value))
    return "".join(f"{key}\n" if isinstance(value, str) else f"{key} {value!r}\n" for key, value in lines.items())


def _both(name: str, one: str | float | None, other: float) -> float:
    if not isinstance(one, int | float):
        return other
    if name in _MOST:
        return max(one, other)
    if name in _LEAST:
        return min(one, other)
    return one + other
