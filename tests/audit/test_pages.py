"""docs/audit/ is what the catalogue and the fixtures say. MCPSEC_WRITE=1 writes it anew."""

from __future__ import annotations

import os
import re
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
        (
            f"tests/audit/test_foreign.py: nginx, {name}",
            red,
            "tests/audit/test_foreign.py: nginx, ssl_verify_client on;",
        )
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


def _of(name, *checks, twin=""):
    """A test that shows both sides, or one that shows the failing side and the ``twin`` that shows the other."""
    return (f"tests/audit/{name}", set(checks), f"tests/audit/{twin or name}")


OTHERS = [
    _of("test_passive.py::test_each_missing_control_is_seen_and_its_twin_passes", "TLS001", "ERR002", "MON001"),
    _of("test_passive.py::test_tls_facts_of_a_foreign_server", "TLS008"),
    _of("test_usage.py::test_a_grant_that_a_long_log_does_not_show_is_unused", "PRM005"),
    _of("test_usage.py::test_a_lock_that_was_changed_by_hand_is_seen", "TOL004"),
    _of("test_usage.py::test_renewals_are_read_from_the_ledger", "CRT006", twin="test_usage.py::test_renewed_in_time_is_shown"),
    _of("drill/test_drill.py::test_the_audit_drills_when_its_profile_says_so", "RES002", "TMO004"),
    _of("test_evidence.py::test_a_drill_is_whole_recent_and_passed", "RES001"),
    _of("test_evidence.py::test_item_nine_fails_when_something_changed_since_the_report", "AUD001"),
    _of("test_running.py::test_a_waiver_covers_until_its_end", "AUD003"),
    _of(
        "test_deployment.py::test_old_certificates_open_keys_and_leaking_logs",
        "CRT002", "CRT003", "LOG001",
        twin="test_deployment.py::test_a_new_deployment_meets_what_files_can_show",
    ),
    _of("test_deployment.py::test_the_account_that_serves_must_not_read_the_authority", "CRT007"),
    _of("test_live.py::test_old_tls_a_small_key_and_another_certificate_than_on_disk", "TLS007", "TLS009", "CRT009"),
    _of("test_own_gateway.py::test_all_that_can_be_met_on_one_machine_is_met", "LOG006"),
    _of("test_evidence.py::test_a_file_that_cannot_be_read_is_never_clean", "FIL001"),
    _of("test_truth_table.py::test_file_server_and_probe_agree", "TLS002", "TLS003", "TLS004"),
    _of("test_truth_table.py::test_certificate_of_the_wrong_purpose", "TLS005"),
    _of(
        "test_sdk_pair.py::test_weak_sdk_server_is_seen", "AUT001", "ORG001", "ORG002", "ORG003",
        twin="test_sdk_pair.py::test_strong_sdk_server_has_no_failure_but_plain_http",
    ),
]  # fmt: skip


def test_every_check_names_what_fails_it_and_what_passes_it():
    """On its page; and what is named is there."""
    text = "\n".join(path.read_text() for path in sorted(DOCS.glob("*.md")))
    sections = {part.partition(":")[0]: part for part in re.split(r"(?m)^## ", text)[1:]}
    root = DOCS.parents[1]
    for check in checks():
        match = re.search(r"^Fixtures: fails `([^`]+)`, passes `([^`]+)`$", sections[check], re.M)
        assert match is not None, check
        for name in match.groups():
            path, _, test = name.partition("::")
            file = root / path.partition(":")[0]
            assert file.is_file(), name
            assert not test or re.search(rf"^(?:async )?def {test}\(", file.read_text(), re.M), name


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
