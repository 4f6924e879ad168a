"""Results for machines: JSON here, the formats that other programs define in :mod:`mcpsec.report`."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcpsec.leaks.runner import Result

__all__ = ["render"]


def render(name: str, result: Result) -> str:
    """The whole document."""
    return json.dumps(document(result), indent=2, ensure_ascii=False) + "\n"


def document(result: Result) -> dict[str, object]:
    """``mcpsec.secrets/1`` (DESIGN section 5)."""
    return {
        "schema": "mcpsec.secrets/1",
        "findings": [finding.as_dict() for finding in result.findings],
        "summary": {
            "files": result.files,
            "bytes": result.bytes,
            "seconds": round(result.seconds, 6),
            "findings": len(result.findings),
            "suppressed": result.suppressed,
            "skipped": result.skipped.counts,
            "problems": [{"path": p.path, "reason": p.reason} for p in result.problems],
        },
    }
