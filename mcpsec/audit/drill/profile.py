"""``mcpsec audit --profile drill``: one drill of the deployment that is judged, and its report among the evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from mcpsec.audit.collection import Collected

__all__ = ["add_drill"]


def add_drill(found: Collected, options: Mapping[str, Any]) -> None:
    """Drill the one deployment among the subjects on loopback, and add the report to them.

    The drill runs against stand-ins of its own alone, whatever the file names: no other machine is ever asked.

    Raises:
        UsageError: an endpoint is among the targets, or not exactly one deployment file.
        NotAssessedError: the copy of the deployment does not start.
    """
    from mcpsec.audit.drill.faults import chosen
    from mcpsec.audit.drill.runner import drill
    from mcpsec.audit.subjects import Subject

    endpoints = [each.label for each in found.subjects if each.kind == "endpoint"]
    if endpoints:
        raise UsageError(
            f"{endpoints[0]}: the profile drill injects faults, and never into what runs",
            hint="name the deployment file instead: a copy of it is started on loopback",
        )
    files = [each for each in found.subjects if each.kind == "deployment"]
    if len(files) != 1:
        named = ", ".join(each.label for each in files) or "there is none"
        raise UsageError(f"the profile drill needs one deployment file among the targets: {named}")
    report = drill(files[0].path, chosen(options.get("drill only") or (), ()), bounds=options.get("drill bounds"))
    raw = json.dumps(report.document()).encode()
    found.subjects.append(Subject("evidence", Path("drill.json"), f"drill of {files[0].label}", raw))
