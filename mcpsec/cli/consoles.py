"""Rich's console, but for what somebody else's text would make of the terminal: Rich lets most controls pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment

from mcpsec.terminal import tame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType

__all__ = ["TameConsole"]


class TameConsole(Console):
    """A console whose own controls (colours, a screen that is redrawn) are the only ones that it writes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is to be written, text tamed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(tame(segment.text), segment.style)
