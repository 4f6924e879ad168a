"""docs/audit/ is what the catalogue and the fixtures say. MCPSEC_WRITE=1 writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

import mcpsec.audit
from mcpsec.audit.catalogue import checklist, checks
from mcpsec.audit.documentation import pages
from tests.audit.labelled import CASES
from tests.audit.test_client import CASES as CLIENT
from tests.audit.test_deployment import CONTROLS

DOCS = Path(__file__).parents[2] / "docs" / "audit"


def examples():
    found: dict[str, tuple[list[str], list[str]]] = {}
    for case in CASES:
        for check in sorted(case.fails):
            failing, passing = found.setdefault(check, ([], []))
            failing.append(f"tests/audit/labelled.py: {case.name}")
            passing.append(f"tests/audit/labelled.py: {case.path}")
    for name, (check, *_) in CLIENT.items():
        failing, passing = found.setdefault(check, ([], []))
        failing.append(f"tests/audit/test_client.py: {name}")
        passing.append(f"tests/audit/test_client.py: {name}, done right")
    for name, (_, red, _) in CONTROLS.items():
        for check in sorted(red):
            failing, passing = found.setdefault(check, ([], []))
            failing.append(f"tests/audit/test_deployment.py: {name}")
            passing.append("tests/audit/test_deployment.py: what mcpsec init writes")
    return found


def test_pages_are_current():
    made = pages(examples())
    if os.environ.get("MCPSEC_WRITE"):
        DOCS.mkdir(exist_ok=True)
        for name, text in made.items():
            (DOCS / name).write_text(text)
    stale = [name for name, text in made.items() if not (DOCS / name).is_file() or (DOCS / name).read_text() != text]
    assert not stale, "MCPSEC_WRITE=1 pytest tests/audit/test_pages.py writes them anew"
    assert {path.name for path in DOCS.glob("*.md")} == set(made)


def test_every_check_has_code_that_gives_it():
    """A text alone judges nothing: what has no code yet is ``planned``, and nobody is told of it."""
    code = "".join(path.read_text() for path in Path(mcpsec.audit.__file__).parent.rglob("*.py"))
    assert [name for name in checks() if name not in code] == []
    assert all(name in checks() for item in checklist() for name in item.deciding)
    assert all(item.deciding for item in checklist())
