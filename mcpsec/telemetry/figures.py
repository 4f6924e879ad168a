"""Metrics as plain numbers, by the value of one label. A scrape makes Prometheus families of them (``exposition``).

Nothing of ``prometheus_client`` is imported for it: that brings an HTTP server and client along, a tenth of what a
gateway needs to start, and nobody may ever ask for its metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Family"]


class Family:
    """One metric. Without a label its only figure is the one of the value ``""``."""

    __slots__ = ("_figures", "kind", "label", "name", "text")

    def __init__(self, kind: Literal["counter", "gauge"], name: str, text: str, label: str = "") -> None:
        self.kind, self.name, self.text, self.label = kind, name, text, label
        self._figures: dict[str, float | Callable[[], float]] = {} if label else {"": 0}

    def inc(self, value: str = "") -> None:
        """Count one."""
        before = self._figures.get(value, 0)
        self._figures[value] = 1 if callable(before) else before + 1

    def set(self, figure: float | Callable[[], float], value: str = "") -> None:
        """Set a figure, or what gives it whenever somebody asks."""
        self._figures[value] = figure

    def figures(self) -> list[tuple[str, float]]:
        """Each value of the label and its figure now. May be asked in another thread."""
        return [(value, float(each() if callable(each) else each)) for value, each in tuple(self._figures.items())]
