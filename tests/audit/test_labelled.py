"""Every labelled file: what must fail fails, nothing else does; precision and recall by area."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.audit.helpers import failing, judged, of_text
from tests.audit.labelled import CASES, HARDENED


@pytest.mark.parametrize("path", HARDENED)
def test_hardened_file_has_no_failure(path, tmp_path):
    found = of_text(tmp_path, path, HARDENED[path])
    assert [(r.check, r.subject, r.observed) for r in failing(found)] == []
    assert [r for r in found.results if r.state == "not-assessed" and r.check == "FIL001"] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_flaw_is_found_and_nothing_else(case, tmp_path):
    found = of_text(tmp_path, case.path, case.text)
    assert {r.check for r in failing(found)} == case.fails, [(r.check, r.observed) for r in failing(found)]
    for result in failing(found, *case.fails):
        assert result.location.path == case.path
        assert result.fix
        assert "7f3c9a1e5b2d8f4a6c0e" not in str(result.document())


def test_hardened_repository_has_no_failure(tmp_path):
    for path, text in HARDENED.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = judged(tmp_path)
    assert {each.label for each in found.subjects} == set(HARDENED)
    assert [(r.check, r.subject, r.observed) for r in failing(found)] == []


def test_what_only_speaks_of_keys_and_images_is_neither(tmp_path):
    key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
    (tmp_path / "dockerfile.py").write_text("from x import y\n")
    (tmp_path / "rules.toml").write_text(f'pattern = """\n{key}"""\n')
    (tmp_path / "Dockerfile.md").write_text("FROM here on\n")
    assert judged(tmp_path).subjects == []
    (tmp_path / "server.key").write_text(key)
    assert [each.kind for each in judged(tmp_path).subjects] == ["key"]


def test_precision_and_recall(tmp_path, capsys):
    right, missed, alarms = Counter(), Counter(), Counter()
    for number, case in enumerate(CASES):
        got = {r.check for r in failing(of_text(tmp_path / str(number), case.path, case.text))}
        for check in got | case.fails:
            area = check[:3]
            right[area] += check in got and check in case.fails
            missed[area] += check in case.fails - got
            alarms[area] += check in got - case.fails
    lines = [f"{'area':6}{'flaws':>7}{'precision':>11}{'recall':>8}"]
    for area in sorted(right):
        flaws = right[area] + missed[area]
        precision = right[area] / max(1, right[area] + alarms[area])
        lines.append(f"{area:6}{flaws:7}{precision:11.2f}{right[area] / max(1, flaws):8.2f}")
    with capsys.disabled():
        if os.environ.get("MCPSEC_PRINT"):
            print("\n" + "\n".join(lines))
    assert (not missed and not alarms) or sum(missed.values()) + sum(alarms.values()) == 0, "\n".join(lines)
