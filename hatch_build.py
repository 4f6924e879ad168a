"""Packs the rules of ``scan-secrets`` into the wheel, so that a first run has nothing to parse."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKED = "mcpsec/leaks/rules.packed"


class PackedRules(BuildHookInterface[Any]):
    """Makes the file for wheels only: a working copy reads the rule files that are being worked on."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the files are collected."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from mcpsec.leaks.rulebook import ship

        path = Path(self.directory) / "rules.packed"
        path.parent.mkdir(parents=True, exist_ok=True)
        ship(str(path))
        build_data["force_include"][str(path)] = PACKED

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when the wheel is written."""
        (Path(self.directory) / "rules.packed").unlink(missing_ok=True)
