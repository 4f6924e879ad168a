"""The scalars of circuit breakers."""

from __future__ import annotations

from typing import Any, ClassVar

from mcpsec.deployment.shapes import Scalar, Schema, Wrong
from mcpsec.frozen import dataclass

__all__ = ["Ratio"]


@dataclass(frozen=True, slots=True)
class Ratio(Scalar):
    """A share: above 0, at most 1."""

    label: ClassVar[str] = "ratio"

    def parse(self, value: Any, base: Any) -> float:
        """Accept a number between 0 and 1."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
            raise Wrong("is not a ratio", "write a number above 0 and at most 1, as 0.5")
        return float(value)

    def schema(self) -> Schema:
        """Describe a number with its bounds."""
        return {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
