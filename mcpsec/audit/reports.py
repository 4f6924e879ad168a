"""An audit in the formats of other programs and people: one entry to all of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpsec.audit.runner import Audit

__all__ = ["FORMATS", "render"]

FORMATS = ("json",)


def render(found: Audit, output_format: str, *, show_all: bool = False) -> str:
    """The whole report as text."""
    return json.dumps(found.document(), indent=2, ensure_ascii=False) + "\n"
