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
from tests.audit.test_foreign import SETTINGS as NGINX
from tests.audit.test_foreign import TOKENS
from tests.audit.test_live import CONTROLS as LIVE
from tests.audit.test_live import LOADS
from tests.audit.test_pairs import PAIRS

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
    strict = "tests/audit/strict_server.py: whole"
    live = [(f"tests/audit/strict_server.py: without {name}", red, strict) for name, red in LIVE.items()]
    live += [(f"tests/audit/strict_server.py: without {name}", red, strict) for name, (_, red) in LOADS.items()]
    live += [
        (
            f"tests/audit/test_foreign.py: OAuth resource without {name}",
            red,
            "tests/audit/test_foreign.py: OAuth resource",
        )
        for name, red in TOKENS.items()
    ]
    live += [
        (f"tests/audit/test_foreign.py: nginx, {name}", red, "nginx, ssl_verify_client on")
        for name, red in NGINX.items()
    ]
    live += [(name, red, twin) for name, red, twin in OTHERS]
    pairs = "tests/audit/test_pairs.py"
    live += [(f"{pairs}: {name}", {check}, f"{pairs}: the same done right") for check, (name, *_) in PAIRS.items()]
    for name, red, twin in live:
        for check in sorted(red):
            failing, passing = found.setdefault(check, ([], []))
            failing.append(name)
            passing.append(twin)
    return found


OTHERS = [
    (
        "tests/audit/test_passive.py: a weak server",
        {"TLS001", "ERR002", "MON001"},
        "tests/audit/test_passive.py: a strong server",
    ),
    (
        "tests/audit/test_passive.py: the same without its CA",
        {"TLS008"},
        "tests/audit/test_passive.py: a strong server",
    ),
    (
        "tests/audit/test_usage.py: a grant that the log does not show",
        {"PRM005"},
        "tests/audit/test_usage.py: one that it shows",
    ),
    ("tests/audit/test_usage.py: a lock changed by hand", {"TOL004"}, "tests/audit/test_usage.py: a lock as written"),
    (
        "tests/audit/test_usage.py: 95 days without a new one",
        {"CRT006"},
        "tests/audit/test_usage.py: a renewed certificate",
    ),
    (
        "tests/audit/test_usage.py: a drill that hung",
        {"RES002", "TMO004"},
        "tests/audit/test_usage.py: a drill that passed",
    ),
]


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
