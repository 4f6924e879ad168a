"""Auditing one text or one directory in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcpsec.audit.model import Result
from mcpsec.audit.runner import Audit, Request, audit

__all__ = ["failing", "judged", "of_text"]


def judged(root: Path, *targets: str, **options: Any) -> Audit:
    return audit(Request(targets=targets or (".",), root=root, persona=options.pop("persona", "auditor"), **options))


def of_text(root: Path, name: str, text: str | bytes, **options: Any) -> Audit:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return judged(root, str(path), **options)


def failing(found: Audit, *checks: str) -> list[Result]:
    return [r for r in found.results if r.state == "fail" and (not checks or r.check in checks)]
