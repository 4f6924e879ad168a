"""The pages of the checks, one an area, from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from mcpsec.audit.catalogue import Check, checks, table
from mcpsec.audit.detection import KINDS

__all__ = ["pages"]

_PROBES = {
    "static": "files only",
    "P0": "P0: one connection, no message of MCP",
    "P1": "P1: read-only requests",
    "P2": "P2: requests that must be refused",
    "P3": "P3: load and slow requests, with caps",
    "P4": "P4: faults, in a drill",
}


def pages(examples: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> dict[str, str]:
    """File name → Markdown. ``examples`` names, by check, the fixtures that fail it and those that pass it."""
    made = {}
    for area, rows in groupby(checks().values(), key=lambda check: check.area):
        members = list(rows)
        name = area.lower().replace(",", "").replace(" ", "-") + ".md"
        parts = [f"# {area}", "", "Generated from the catalogue of checks; `mcpsec audit explain ID` prints the same."]
        parts += [_section(check, *examples.get(check.id, ((), ()))) for check in members]
        made[name] = "\n".join(parts) + "\n"
    return made


def _section(check: Check, failing: Sequence[str], passing: Sequence[str]) -> str:
    owasp, cwe, cosai = table("owasp.toml"), table("cwe.toml"), table("cosai.toml")
    facts = [
        ("severity", f"{check.severity}, confidence {check.confidence}, persona {check.persona}"),
        ("looks at", ", ".join(KINDS[kind] for kind in check.kinds) or "every file"),
        ("how", _PROBES[check.probe]),
        ("checklist", ", ".join(f"item {number}" for number in check.items) or "-"),
        ("OWASP MCP Top 10", ", ".join(f"{name} {owasp[name]}" for name in check.owasp) or "-"),
        ("CWE", ", ".join(f"CWE-{number} {cwe[str(number)]}" for number in check.cwe) or "-"),
        ("MCP 2026-07-28", check.spec or "-"),
        ("CoSAI", f"{check.cosai} {cosai[check.cosai]}" if check.cosai else "-"),
        ("`--fix`", "yes, where one line is enough" if check.fixable else "no"),
    ]
    lines = [
        f"\n## {check.id}: {check.title}\n",
        f"Passes when {check.passes}.\n",
        f"{check.why}\n",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value} |" for name, value in facts]
    lines += [
        "",
        *(
            f"Fix{'' if kind == 'any' else f' ({KINDS[kind]})'}: `{text}`"
            if _is_code(text)
            else f"Fix{'' if kind == 'any' else f' ({KINDS[kind]})'}: {text}"
            for kind, text in check.fix.items()
        ),
    ]
    if failing:
        lines.append(f"\nFixtures: fails `{failing[0]}`" + (f", passes `{passing[0]}`" if passing else ""))
    return "\n".join(lines)


def _is_code(text: str) -> bool:
    return "`" not in text and any(mark in text for mark in ("{", ";", "=", "[")) and not text.endswith(".")
